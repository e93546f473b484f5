import copy

import pytest
import torch
from tiny_model import build, make_input, tiny_cfg
from torch import nn

from detr_d2.explanation.capture import record, run_mask_head


def make_model(arch="PanopticDetr", **keys):
    cfg = tiny_cfg(arch)
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    for key, value in keys.items():
        cfg.MODEL.DETR[key] = value
    model = build(cfg).eval()
    model.box_head.class_embed.bias.data[-1] = -10.0
    return model


def flat(outputs):
    """All tensors of the model's outputs."""
    for output in outputs:
        instances = output["instances"]
        yield from (instances.pred_boxes.tensor, instances.scores, instances.pred_classes)
        if "panoptic_seg" in output:
            yield output["panoptic_seg"][0]
            yield torch.tensor([s["score"] for s in output["panoptic_seg"][1]])


@pytest.mark.parametrize("arch", ["PanopticDetr", "Detr"])
@pytest.mark.parametrize(
    "keys", [{}, {"PRE_NORM": True}, {"QUERY_GROUPS": 3}, {"REFERENCE_POINTS": True}]
)
def test_outputs_are_bit_equal_with_and_without_recording(arch, keys):
    model = make_model(arch, **keys)
    images = [make_input(64, 96, 0, 1), make_input(80, 72, 0, 2)]
    with torch.no_grad():
        before = list(flat(model(images)))
        with record(model):
            during = list(flat(model(images)))
        after = list(flat(model(images)))
    assert len(before) > 4
    for a, b, c in zip(before, during, after, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_no_hook_is_left_even_after_an_error():
    model = make_model()
    with pytest.raises(KeyError), record(model):
        model([{}])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("pre_norm", [False, True])
def test_weights_of_every_attention_are_those_of_torch(pre_norm):
    model = make_model(PRE_NORM=pre_norm)
    with torch.no_grad(), record(model) as trace:
        model([make_input(64, 96, 0)])
    calls = [*trace.encoder, *trace.decoder_self, *trace.decoder_cross]
    assert [len(x) for x in (trace.encoder, trace.decoder_self, trace.decoder_cross)] == [1, 2, 2]
    for call in calls:
        with torch.no_grad():
            _, expected = call.module(
                call.query,
                call.key,
                call.key,
                key_padding_mask=call.padding,
                need_weights=True,
                average_attn_weights=False,
            )
        torch.testing.assert_close(call.weights(), expected)
        torch.testing.assert_close(expected.sum(-1), torch.ones(expected.shape[:-1]))


def test_padding_gets_no_attention():
    model = make_model()
    with torch.no_grad(), record(model) as trace:
        model.raw_outputs([make_input(64, 160, 0), make_input(64, 64, 0)])
    weights = trace.encoder[0].weights()[1].unflatten(-1, (2, 5))
    assert weights[..., 2:].max() == 0
    torch.testing.assert_close(weights[..., :2].sum((-1, -2)), torch.ones(8, 10))


def test_trace_holds_what_raw_outputs_gives():
    model = make_model(QUERY_GROUPS=2)
    image = make_input(72, 100, 0)
    with torch.no_grad():
        expected = model.raw_outputs([image])
        with record(model) as trace:
            model([image])
    for name, value in (
        ("encoded", expected.encoded_image[0]),
        ("embeddings", expected.box_embeddings[0]),
        ("logits", expected.logits[0]),
        ("boxes", expected.boxes[0]),
        ("bbox_attention", expected.attention[0]),
        ("projected", expected.projected[0]),
        ("res4", expected.features["res4"][0]),
    ):
        torch.testing.assert_close(trace.get(name), value)
    masks, stages = run_mask_head(model, trace.cpu(), [1, 4, 6])
    torch.testing.assert_close(masks, expected.masks[0, [1, 4, 6]])
    # d = 32, M = 8: 40 channels twice halved to d / 16 at H / 4.
    shapes = [tuple(maps.shape) for maps in stages.convolved]
    assert shapes == [(3, 40, 3, 4), (3, 16, 3, 4), (3, 8, 5, 7), (3, 4, 9, 13), (3, 2, 18, 25)]
    assert [len(lateral) for lateral in stages.laterals] == [16, 8, 4]
    assert min(maps.min() for maps in stages.convolved) == 0, "after ReLU"


def test_the_inside_of_another_mask_head_is_unknown():
    class OneConvolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 1, 1)

        def forward(self, image, attention, features):
            return [self.conv(maps)[:, 0] for maps in attention]

    model = make_model()
    model.mask_head = OneConvolution()
    with torch.no_grad(), record(model) as trace:
        model([make_input(64, 96, 0)])
    masks, stages = run_mask_head(model, trace, [0, 2])
    assert masks.shape == (2, 2, 3) and stages is None


def test_only_a_detr_in_evaluation_mode_can_be_recorded():
    model = make_model()
    with pytest.raises(ValueError, match="training mode"), record(copy.copy(model).train()):
        pass
    with pytest.raises(ValueError, match="not Linear"), record(nn.Linear(1, 1)):
        pass
    with pytest.raises(ValueError, match="has no 'encoded'"), record(model.eval()) as trace:
        trace.get("encoded")


def test_of_several_passes_the_last_is_kept_and_of_a_batch_the_first_image_is_shown():
    model = make_model()
    first, batch = [make_input(80, 72, 0, 2)], [make_input(64, 96, 0, 1), make_input(72, 90, 0, 3)]
    with torch.no_grad():
        expected = model.raw_outputs(batch)
        with record(model) as trace:
            model.raw_outputs(first)
            model.raw_outputs(batch)
    assert [len(x) for x in (trace.encoder, trace.decoder_self, trace.decoder_cross)] == [1, 2, 2]
    assert len(trace.encoder[0].query) == 2
    torch.testing.assert_close(trace.get("queries"), model.query_embed.weight)
    torch.testing.assert_close(trace.get("layer_logits")[-1], expected.logits[0])
    masks, _ = run_mask_head(model, trace.cpu(), [5, 2])
    torch.testing.assert_close(masks, expected.masks[0, [5, 2]], rtol=1e-4, atol=1e-5)
    assert trace.cpu().padding.dtype == torch.bool
