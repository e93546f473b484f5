"""The graphs compute what the model does; ONNX itself is not needed here."""

import pytest
import torch
from tiny_model import build, make_input, tiny_cfg

from detr_d2.export.graphs import DetectionGraph, MaskGraph


@pytest.mark.parametrize("changes", [{}, {"POSITION_TEMPERATURE": 20.0, "REFERENCE_POINTS": True}])
@pytest.mark.parametrize("reverse", [False, True])
def test_results_are_those_of_the_model(changes, reverse):
    cfg = tiny_cfg()
    cfg.MODEL.PIXEL_MEAN = [10.0, 120.0, 200.0]
    cfg.MODEL.DETR.THING_IDS = [1, 4]
    for key, value in changes.items():
        setattr(cfg.MODEL.DETR, key, value)
    model = build(cfg).eval()
    image = make_input(50, 70, 0)["image"]
    expected = model.raw_outputs([{"image": image}])
    # The graph takes RGB, which is the other way round for a model that wants BGR.
    rgb = image.permute(1, 2, 0).flip(2) if reverse else image.permute(1, 2, 0)
    graph = DetectionGraph(model, reverse)
    with torch.no_grad():
        found = dict(zip(graph.names(), graph(rgb), strict=True))
        features = [found[f"feature_{name}"] for name in model.mask_features]
        kept = torch.tensor([5, 0])
        inputs = (found[name] for name in ("encoded_image", "projected"))
        masks = MaskGraph(model)(found["embeddings"][kept], *inputs, features)
    classes = model.postprocess.classify(expected.logits[0], expected.boxes[0])
    torch.testing.assert_close(found["boxes"], expected.boxes[0])
    torch.testing.assert_close(found["scores"], classes.scores)
    assert found["classes"].tolist() == classes.classes.tolist()
    assert found["is_object"].tolist() == classes.is_object.tolist()
    assert found["is_thing"].tolist() == [c in (1, 4) for c in classes.classes.tolist()]
    torch.testing.assert_close(masks, expected.masks[0, kept], atol=1e-5, rtol=1e-5)
