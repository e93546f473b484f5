"""The ONNX files of a panoptic DETR: `detect.onnx` and `masks.onnx`.

See `graphs.py` for what they compute and `merge_graph.py` for the end of the second.
"""

import contextlib
import importlib.util
import io
import json
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from detr_d2.export.graphs import DetectionGraph, MaskGraph
from detr_d2.modeling import PanopticDetr
from detr_d2.utils.files import replacing

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install -r requirements/onnx.txt"
# Not the newest, for the sake of older runtimes.
IR_VERSION, OPSET = 10, 18
# Neither square nor a multiple of the stride, so that nothing is a special case.
EXAMPLE_SIZE = (150, 210)
SETTINGS = "detr_d2"


def check_can_export(model: nn.Module) -> None:
    """Check that the packages are there and that the graphs can do what the model does.

    Raises:
        ImportError: a package is missing.
        ValueError: a model without masks, or switches that only PyTorch follows.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"ONNX needs {', '.join(missing)}: {INSTALL}")
    if not isinstance(model, PanopticDetr):
        raise ValueError(
            f"MODEL.META_ARCHITECTURE is {type(model).__name__}; what is exported is a panoptic "
            "map, which needs the masks of PanopticDetr"
        )
    post = model.postprocess
    for key, value, allowed in (
        ("PANOPTIC_ON", post.panoptic_on, True),
        ("POSTPROCESS.UNITE_STUFF", post.unite_stuff, "after_filtering"),
        ("POSTPROCESS.RESIZE", post.resize, "masks"),
    ):
        if value != allowed:
            raise ValueError(f"MODEL.DETR.{key} is {value!r}; allowed for ONNX: {allowed!r}")


def export_onnx(model: nn.Module, cfg: CfgNode, folder: str | os.PathLike[str]) -> list[Path]:
    """Write `detect.onnx` and `masks.onnx` for images of any size.

    The settings that a runner needs (resize, thresholds) are JSON in the metadata of
    `detect.onnx`, under the key "detr_d2".

    Args:
        model: a `PanopticDetr` with weights, on the CPU; put into evaluation mode.
        cfg: its config: INPUT is read.
        folder: made if needed.

    Returns:
        The files.

    Raises:
        ImportError, ValueError: see `check_can_export`.
        RuntimeError: the exporter has fixed a size, so that the graph would be wrong for others.
    """
    check_can_export(model)
    import onnx

    from detr_d2.export.merge_graph import merge_model

    assert isinstance(model, PanopticDetr)
    detect = DetectionGraph(model.eval(), cfg.INPUT.FORMAT == "BGR").eval()
    image = torch.randint(0, 256, (*EXAMPLE_SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        results = dict(zip(detect.names(), detect(image), strict=True))
    detection = _trace(detect, (image,), ["image"], list(results), ({0: _ANY, 1: _ANY},))
    onnx.helper.set_model_props(detection, {SETTINGS: json.dumps(_settings(model, cfg))})
    inputs = ["embeddings", "encoded_image", "projected"]
    features = [f"feature_{name}" for name in model.mask_features]
    example = (*(results[name] for name in inputs), [results[name] for name in features])
    sizes = {2: _ANY, 3: _ANY}
    shapes = ({0: _ANY}, sizes, sizes, [sizes for _ in features])
    # Three queries: one of a kind may be taken for a constant.
    example = (example[0][:3], *example[1:])
    masks = _trace(MaskGraph(model).eval(), example, [*inputs, *features], ["masks"], shapes)
    graphs = {"detect.onnx": detection, "masks.onnx": _append_merge(masks, merge_model())}
    return [_write(graph, Path(folder, name)) for name, graph in graphs.items()]


_ANY = torch.export.Dim.DYNAMIC


def _settings(model: PanopticDetr, cfg: CfgNode) -> dict[str, Any]:
    return {
        "min_size": cfg.INPUT.MIN_SIZE_TEST,
        "max_size": cfg.INPUT.MAX_SIZE_TEST,
        "score_thresh": model.postprocess.score_thresh,
        "min_area": model.postprocess.min_area,
    }


def _trace(
    module: nn.Module,
    example: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: Any,
) -> Any:
    """Export a module to an `onnx.ModelProto`, constants computed ahead: also frozen norms."""
    from onnxscript import optimizer

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=shapes,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        with _quiet("onnxscript"), _quiet("onnx_ir"):
            optimizer.optimize(
                program.model, input_size_limit=2**31, output_size_limit=2**31, inline=True
            )
    model = program.model_proto
    model.ir_version = IR_VERSION
    _check_sizes_are_free(model)
    return model


def _check_sizes_are_free(model: Any) -> None:
    """Check that height and width of every input, or the number of queries, is a free symbol."""
    for value in model.graph.input:
        sizes = [d.dim_param for d in value.type.tensor_type.shape.dim if d.dim_param]
        wanted = {"image": 2, "embeddings": 1}.get(value.name, 2)
        free = len(set(sizes)) == wanted and all(size.isidentifier() for size in sizes)
        if not free:
            raise RuntimeError(
                f"the exporter fixed sizes of {value.name!r}: {value.type.tensor_type.shape}; the "
                f"graph would be wrong for other images (torch {torch.__version__})"
            )


@contextlib.contextmanager
def _quiet(name: str) -> Any:
    """Keep the remarks of a package, one per operator, out of the log."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _append_merge(masks: Any, merge: Any) -> Any:
    """Let the mask graph go on with the merge; the mask logits stay a result, too."""
    import onnx

    merge = onnx.compose.add_prefix(
        merge, "merge.", rename_inputs=False, rename_outputs=False, rename_functions=False
    )
    merge.ir_version = IR_VERSION
    logits = masks.graph.output[0]
    merged = onnx.compose.merge_models(masks, merge, io_map=[("masks", "masks")])
    merged.graph.output.append(logits)
    merged.graph.name = "masks"
    onnx.checker.check_model(merged)
    return merged


def _write(model: Any, path: Path) -> Path:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(model.SerializeToString())
    return path
