"""Compiled parts give the same losses and outputs, and the same checkpoint."""

import pytest
import torch
from tiny_model import build, make_input, tiny_cfg
from torch import nn

from detr_d2.export import compile_parts


def test_compiled_parts_give_the_same_outputs_at_two_sizes():
    cfg = tiny_cfg()
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    # Fewer layers to trace.
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.DETR.DEC_LAYERS = 1
    model = build(cfg).eval()
    model.box_head.class_embed.bias.data[-1] = -10.0
    names = list(model.state_dict())
    inputs = [[make_input(64, 96, 1)], [make_input(75, 50, 1)]]
    with torch.no_grad():
        expected = [model(x)[0] for x in inputs]
        assert compile_parts(model, backend="eager") == ["backbone", "transformer", "mask_head"]
        found = [model(x)[0] for x in inputs]
    assert list(model.state_dict()) == names
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["panoptic_seg"][0], other["panoptic_seg"][0])
        assert torch.allclose(one["instances"].scores, other["instances"].scores, atol=1e-6)


def test_a_model_without_masks_has_two_parts():
    assert compile_parts(build(tiny_cfg("Detr")), backend="eager") == ["backbone", "transformer"]


@pytest.mark.parametrize("given", [{}, {"dynamic": False}, {"mode": "max-autotune"}])
def test_options_reach_every_part_and_shapes_are_free_unless_told(given):
    model, compiled = nn.Module(), {}
    for name in ("backbone", "transformer", "mask_head", "input_proj"):
        part = nn.Identity()
        part.compile = lambda name=name, **options: compiled.update({name: options})
        setattr(model, name, part)
    names = compile_parts(model, **given)
    assert names == ["backbone", "transformer", "mask_head"]
    assert compiled == {name: {"dynamic": True, **given} for name in names}
