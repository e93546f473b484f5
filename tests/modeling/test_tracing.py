"""`instances` can be traced by torch.jit, for programs without Python."""

import io

import pytest
import torch
from detectron2.export import TracingAdapter
from tiny_model import build, make_input, tiny_cfg


def instances_of(model, inputs):
    """The outputs to trace: those of one image."""
    return [model.inference(inputs)[0]["instances"]]


def threshold_between(first, second):
    """The threshold farthest from any score that leaves some of each, in different numbers."""
    values = torch.cat([first, second]).sort().values
    middles = (values[1:] + values[:-1]) / 2
    gaps = values[1:] - values[:-1]
    counts = [(scores > middles[:, None]).sum(1) for scores in (first, second)]
    differ = (counts[0] != counts[1]) & (counts[0] > 0) & (counts[1] > 0)
    return middles[(gaps * differ).argmax()].item()


@pytest.mark.parametrize("arch", ["Detr", "PanopticDetr"])
def test_traced_instances_are_those_of_the_model(arch):
    cfg = tiny_cfg(arch)
    cfg.MODEL.DETR.PANOPTIC_ON = False
    model = build(cfg).eval()
    example, other = ({"image": make_input(64, 96, 0, seed=s)["image"].float()} for s in (1, 2))
    with torch.no_grad():
        scores = [instances_of(model, [x])[0].scores for x in (example, other)]
        model.postprocess.instance_score_thresh = threshold_between(*scores)
        adapter = TracingAdapter(model, [example], instances_of)
        traced = torch.jit.trace(adapter, adapter.flattened_inputs, check_trace=False)
        file = io.BytesIO()
        torch.jit.save(traced, file)
        file.seek(0)
        found = torch.jit.load(file)(other["image"])
        (expected,) = instances_of(model, [other])
        (given,) = instances_of(model, [example])
    (found,) = adapter.outputs_schema(found)
    assert len(given) != len(expected), "the number must not be a constant of the trace"
    assert len(found) == len(expected) > 0
    for name in expected.get_fields():
        values = [getattr(getattr(x, name), "tensor", getattr(x, name)) for x in (found, expected)]
        torch.testing.assert_close(*values)
