"""Reference points: where a query looks, and what its box is relative to."""

import pytest
import torch
from tiny_model import build, make_input, tiny_cfg

from detr_d2.checkpoint import WeightsError, load_weights, open_weights
from detr_d2.modeling.position_encoding import sine_position_encoding
from detr_d2.modeling.reference_points import ReferencePoints


def with_points(meta: str = "Detr", **keys):
    cfg = tiny_cfg(meta)
    cfg.MODEL.DETR.REFERENCE_POINTS = True
    for key, value in keys.items():
        cfg.MODEL.DETR[key] = value
    return build(cfg)


def test_a_point_is_encoded_like_the_cell_it_lies_in():
    # Cells of a 2 x 4 image end at 1/2 and 1 of its height, and at quarters of its width.
    cells = sine_position_encoding(torch.zeros(1, 2, 4, dtype=torch.bool), 16, 20.0)
    points = ReferencePoints(16, 20.0)
    points.point.weight.data.zero_()
    points.point.bias.data = torch.tensor([0.75, 0.5]).logit()
    places, logits = points(torch.zeros(1, 1, 16))
    torch.testing.assert_close(logits.sigmoid(), torch.tensor([0.75, 0.5]).view(1, 1, 1, 1, 2))
    torch.testing.assert_close(places[0, 0], cells[0, :, 0, 2], atol=1e-4, rtol=0)
    # The embedding itself is still there.
    embedding = torch.randn(1, 1, 16)
    points.point.weight.data.zero_()
    torch.testing.assert_close(points(embedding)[0] - embedding, places, atol=1e-5, rtol=0)


def test_points_start_all_over_the_image():
    torch.manual_seed(0)
    points = ReferencePoints(64, 20.0)
    _, logits = points(torch.randn(1, 2000, 64))
    quarters = torch.histc(logits.sigmoid()[..., 0], 4, 0, 1) / 2000
    assert quarters.min() > 0.15


def test_centres_are_relative_to_the_points_and_sizes_are_not():
    model = with_points().eval()
    last = model.box_head.bbox_embed.layers[-1]
    last.weight.data.zero_()
    last.bias.data = torch.tensor([0.0, 0.0, 0.3, -0.7])
    state = model.raw_outputs([make_input(64, 96, 0), make_input(80, 72, 1)])
    points = model.reference_points(model.query_embed.weight[None])[1][0, 0, 0].sigmoid()
    assert points.std(0).min() > 0.05
    for boxes in state.boxes:
        torch.testing.assert_close(boxes[:, :2], points)
        torch.testing.assert_close(boxes[:, 2:], torch.tensor([0.3, -0.7]).sigmoid().expand(7, 2))


def test_each_query_group_has_its_own_points(half_empty_batch):
    model = with_points(QUERY_GROUPS=2, DROPOUT=0.0)
    last = model.box_head.bbox_embed.layers[-1]
    last.weight.data.zero_()
    last.bias.data.zero_()
    state = model.forward_detr(model.preprocess(half_empty_batch))
    points = model.reference_points(torch.stack([model.query_embed.weight, *model.extra_queries]))
    expected = points[1].sigmoid().expand_as(state.all_boxes[..., :2])
    torch.testing.assert_close(state.all_boxes[..., :2], expected)
    sum(model(half_empty_batch).values()).backward()
    assert model.reference_points.point.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("meta", ["Detr", "PanopticDetr"])
def test_off_there_is_no_parameter_more(meta):
    plain, model = build(tiny_cfg(meta)), with_points(meta)
    more = set(model.state_dict()) - set(plain.state_dict())
    assert more == {"reference_points.point.weight", "reference_points.point.bias"}


def test_points_stay_exact_where_16_bits_are_used_around_them():
    points, queries = ReferencePoints(16, 20.0), torch.randn(1, 5, 16)
    expected = points(queries)
    with torch.autocast("cpu", torch.bfloat16):
        found = points(queries)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("trained_with", [False, True])
def test_weights_with_points_need_a_model_with_points(tmp_path, trained_with):
    models = {False: build(tiny_cfg("Detr")), True: with_points()}
    torch.save({"model": models[trained_with].state_dict()}, tmp_path / "model.pth")
    weights = open_weights(str(tmp_path / "model.pth"))
    cfg = tiny_cfg("Detr")
    cfg.MODEL.DETR.REFERENCE_POINTS = trained_with
    load_weights(models[trained_with], weights, cfg=cfg)
    cfg.MODEL.DETR.REFERENCE_POINTS = not trained_with
    with pytest.raises(WeightsError, match=f"MODEL.DETR.REFERENCE_POINTS {trained_with} "):
        load_weights(models[not trained_with], weights, cfg=cfg)
