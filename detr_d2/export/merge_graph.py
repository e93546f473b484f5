"""The panoptic merge as an ONNX graph: `modeling/panoptic_merge.py` for a runtime without torch.

The functions are compiled by onnxscript and never run in Python. Masks are enlarged one after the
other, so that memory does not grow with their number.
"""

# mypy: ignore-errors
from typing import Any

import onnxscript
from onnx import TensorProto, helper, inliner
from onnxscript import opset18 as op

OPSET = 18


@onnxscript.script(default_opset=op)
def _segment_ids(classes, is_thing, alive, kept):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Number the segments in the order of their queries; stuff of one class is one segment."""
    queries = op.CumSum(op.Expand(op.Constant(value_ints=[1]), kept), op.Constant(value_int=0))
    own = op.Equal(
        op.Unsqueeze(queries, op.Constant(value_ints=[1])),
        op.Unsqueeze(queries, op.Constant(value_ints=[0])),
    )
    same_class = op.Equal(
        op.Unsqueeze(classes, op.Constant(value_ints=[1])),
        op.Unsqueeze(classes, op.Constant(value_ints=[0])),
    )
    # Column j may lead row i: the query itself, or a living one of the same stuff class.
    stuff = op.Unsqueeze(op.Not(is_thing), op.Constant(value_ints=[1]))
    living = op.Unsqueeze(alive, op.Constant(value_ints=[0]))
    may_lead = op.Or(own, op.And(op.And(same_class, stuff), living))
    leader = op.ArgMax(op.Cast(may_lead, to=6), axis=1, keepdims=0)
    leads = op.And(alive, op.Equal(leader + op.Constant(value_ints=[1]), queries))
    numbers = op.CumSum(op.Cast(leads, to=6), op.Constant(value_int=0))
    nothing = op.Cast(op.Constant(value_ints=[0]), to=6)
    return op.Where(alive, op.Gather(numbers, leader), nothing)


@onnxscript.script(default_opset=op)
def _winners(masks, alive, nobody, output_size):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Find the best of the living masks for each pixel: int32 (H, W), `nobody` without any."""
    winner = op.Expand(nobody, output_size)
    best = op.Expand(op.Constant(value_floats=[-3.4e38]), output_size)
    order = op.Squeeze(op.NonZero(alive), op.Constant(value_ints=[0]))
    for i in range(op.Size(order)):
        query = op.Gather(order, op.Reshape(i, op.Constant(value_ints=[1])))
        mask = op.Unsqueeze(op.Gather(masks, query), op.Constant(value_ints=[0]))
        size = op.Concat(op.Constant(value_ints=[1, 1]), output_size, axis=0)
        enlarged = op.Resize(
            mask, None, None, size, mode="linear", coordinate_transformation_mode="half_pixel"
        )
        rival = op.Squeeze(enlarged, op.Constant(value_ints=[0, 1]))
        winner = op.Where(rival > best, op.Cast(query, to=6), winner)
        best = op.Max(best, rival)
    return winner


@onnxscript.script(default_opset=op)
def _areas(winner, kept):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Count the pixels of each query."""
    places = op.Cast(op.Reshape(winner, op.Constant(value_ints=[-1])), to=7)
    # One place more than queries, for the pixels of nobody.
    counts = op.ScatterElements(
        op.Expand(op.Constant(value_ints=[0]), kept + op.Constant(value_ints=[1])),
        places,
        op.Expand(op.Constant(value_ints=[1]), op.Shape(places)),
        axis=0,
        reduction="add",
    )
    return op.Slice(counts, op.Constant(value_ints=[0]), kept)


# Types stand for ONNX tensors here, which Python's own cannot name.
@onnxscript.script(default_opset=op)
def panoptic_merge(  # type: ignore[no-untyped-def]  # noqa: ANN201
    masks: onnxscript.FLOAT["kept", "mask_height", "mask_width"],  # noqa: F821
    kept_classes: onnxscript.INT64["kept"],  # noqa: F821
    kept_is_thing: onnxscript.BOOL["kept"],  # noqa: F821
    output_size: onnxscript.INT64[2],
    min_area: onnxscript.INT64[1],
):
    """Merge masks by pixel-wise argmax; small segments first give their pixels away.

    Args:
        masks: logits (K, h, w) of the kept queries.
        kept_classes, kept_is_thing: of these queries.
        output_size: (H, W), pixels.
        min_area: pixels; smaller segments are dropped.

    Returns:
        Segment ids int32 (H, W), from 1, 0 = nothing; the segment id of each query int32 (K,), 0
        if it was dropped, the same for all queries of a stuff class; and the pixels of each query,
        int64 (K,).
    """
    kept = op.Shape(masks, start=0, end=1)
    nobody = op.Cast(kept, to=6)
    alive = op.Expand(op.Constant(value_ints=[1]), kept) > op.Constant(value_ints=[0])
    winner = op.Expand(nobody, output_size)
    pixels = op.Expand(op.Constant(value_ints=[0]), kept)
    go_on = op.Constant(value_int=1) > op.Constant(value_int=0)
    while go_on:
        winner = _winners(masks, alive, nobody, output_size)
        pixels = _areas(winner, kept)
        small = op.And(alive, op.Max(min_area, op.Constant(value_ints=[1])) > pixels)
        go_on = op.ReduceMax(op.Cast(small, to=7), keepdims=0) > op.Constant(value_int=0)
        alive = op.And(alive, op.Not(small))
    ids = _segment_ids(kept_classes, kept_is_thing, alive, kept)
    table = op.Concat(ids, op.Cast(op.Constant(value_ints=[0]), to=6), axis=0)
    return op.Gather(table, winner), ids, pixels


def merge_model() -> Any:
    """Return the merge as an `onnx.ModelProto`; its results are id_map, query_ids and areas."""
    model = inliner.inline_local_functions(panoptic_merge.to_model_proto())
    results = {
        "id_map": (TensorProto.INT32, ["height", "width"]),
        "query_ids": (TensorProto.INT32, ["kept"]),
        "areas": (TensorProto.INT64, ["kept"]),
    }
    graph = model.graph
    for value, name in zip(graph.output, results, strict=True):
        graph.node.append(helper.make_node("Identity", [value.name], [name]))
    del graph.output[:]
    del graph.value_info[:]
    graph.output.extend(helper.make_tensor_value_info(n, *kind) for n, kind in results.items())
    return model
