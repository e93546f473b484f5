"""The pictures of the steps show the numbers that they are of."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from detr_d2.explanation import pictures
from detr_d2.explanation.build_payload import build_payload
from detr_d2.explanation.capture import run_mask_head
from detr_d2.explanation.heat import grey, heat, signed_heat, tile
from detr_d2.explanation.pictures import Pictures, write_pictures
from detr_d2.explanation.recorded_pass import RecordedPass

# Of the seven queries of the tiny model.
SCORES = [0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
CLASSES = [0, 1, 1, 1, 2, 0, 1]
CHOSEN = [1, 4, 5, 2]


@pytest.fixture
def drawn(recorded, monkeypatch):
    """Pictures of queries of these scores and classes, with boxes of their own."""
    found = SimpleNamespace(scores=torch.tensor(SCORES), classes=torch.tensor(CLASSES))
    monkeypatch.setattr(RecordedPass, "queries", lambda self: found)
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2]] * 7)
    boxes[1], boxes[4] = torch.tensor([0.3, 0.6, 0.2, 0.4]), torch.tensor([1.0, 1.0, 0.1, 0.1])
    trace = dataclasses.replace(recorded.trace, boxes=boxes[None])
    payload = SimpleNamespace(meta={"followed": list(range(7))})
    return Pictures(dataclasses.replace(recorded, trace=trace), payload, 150)


@pytest.fixture
def laid(monkeypatch):
    """What is laid over the image."""
    values, over = [], pictures.heat_over
    monkeypatch.setattr(pictures, "heat_over", lambda i, v: values.append(v) or over(i, v))
    return values


def test_the_best_of_each_class_come_first_and_four_are_shown(drawn):
    assert drawn.queries == CHOSEN
    assert drawn.caption(4) == "query 4: crate, 60 %"
    assert drawn.image.shape == (108, 150, 3)


def test_encoder_attention_is_that_of_the_cell_under_the_box(drawn, laid):
    rows, columns, captions, _ = drawn.encoder_attention()
    # 3 x 5 cells; the centre at 0.3, 0.6 lies in row 1, column 1, the other beyond the last.
    assert captions[:2] == ["cell in row 2, column 2", "cell in row 3, column 5"]
    assert columns == ["cell", "layer 1", "layer 2"] and [len(row) for row in rows] == [3] * 4
    cells = [(1, 1), (2, 4), (1, 2), (1, 2)]
    expected = [
        call.weights()[0].mean(0).view(3, 5, 3, 5)[cell]
        for cell in cells
        for call in drawn.trace.encoder
    ]
    for shown, weights in zip(laid, expected, strict=True):
        np.testing.assert_allclose(shown, weights, atol=1e-6)
    # A white cross in the middle of the cell of 30 x 36 pixels.
    assert rows[0][0][54, 45].min() > 250 and rows[0][0][54, 45 + 7].min() > 250
    assert not np.array_equal(rows[0][0], drawn.image)


def test_decoder_attention_and_box_of_each_query(drawn, laid):
    rows, columns, captions, _ = drawn.decoder_attention()
    assert columns == ["box", "layer 1", "layer 2"]
    assert captions == [drawn.caption(query) for query in CHOSEN]
    expected = [c.weights()[0].mean(0)[q] for q in CHOSEN for c in drawn.trace.decoder_cross]
    for shown, weights in zip(laid, expected, strict=True):
        np.testing.assert_allclose(shown, weights.view(3, 5), atol=1e-6)
    # Query 1: from 0.2 to 0.4 across, from 0.4 to 0.8 down.
    colors = drawn.recorded.palette.colors
    for y, x in ((60, 30), (60, 60), (43, 45), (86, 45)):
        assert rows[0][0][y, x].tolist() == pytest.approx(colors[1], abs=3)
    # Query 4: its upper left corner is at 0.95, 0.95; the rest is out of the picture.
    assert rows[1][0][106, 142].tolist() == pytest.approx(colors[2], abs=3)
    assert rows[0][0][60, 45].tolist() == drawn.image[60, 45].tolist()


def test_maps_and_stages_are_those_of_the_queries(drawn):
    rows, columns, captions, _ = drawn.bbox_attention()
    maps = drawn.trace.get("bbox_attention")
    assert columns == [f"map {number}" for number in range(1, 9)]
    assert captions == [drawn.caption(query) for query in CHOSEN]
    logits, stages = run_mask_head(drawn.recorded.model, drawn.trace, CHOSEN)
    for row, query in zip(rows, CHOSEN, strict=True):
        for shown, head in zip(row, maps[query], strict=True):
            assert np.array_equal(shown, tile(heat(head.numpy()), 150, 108))
    rows, columns, captions, _ = drawn.fpn()
    sizes = ["40 x 3 x 5", "16 x 3 x 5", "8 x 6 x 9", "4 x 12 x 17", "2 x 24 x 34"]
    assert columns == [*sizes, "logits"]
    assert captions == [drawn.caption(query) for query in CHOSEN]
    for number, row in enumerate(rows):
        wanted = [grey(maps[number].mean(0).numpy()) for maps in stages.convolved]
        for shown, one in zip(row, [*wanted, signed_heat(logits[number].numpy())], strict=True):
            assert np.array_equal(shown, tile(one, 150, 108))


def test_the_merge_shows_the_largest_logits_and_their_margin(recorded, monkeypatch):
    shown = []
    for name in ("signed_heat", "heat"):
        real = getattr(pictures, name)
        monkeypatch.setattr(
            pictures, name, lambda v, *more, real=real: shown.append(v) or real(v, *more)
        )
    ids, segments = recorded.output["panoptic_seg"]
    fewer = dataclasses.replace(recorded, output={"panoptic_seg": (ids, segments[:5])})
    rows, columns, captions, _ = Pictures(fewer, build_payload(recorded), 50).merge()
    assert captions == ["7 queries compete, 5 segments"]
    assert columns == ["image", "largest logit", "margin", "panoptic"]
    assert [picture.shape for picture in rows[0]] == [(36, 50, 3)] * 4
    logits, _ = run_mask_head(recorded.model, recorded.trace, list(range(7)))
    masks = torch.nn.functional.interpolate(logits[None], (72, 100), mode="bilinear")[0]
    ranked = masks.sort(0, descending=True).values
    np.testing.assert_allclose(shown[0], ranked[0], atol=1e-4)
    np.testing.assert_allclose(shown[1], (ranked[0] - ranked[1]).clamp(max=10), atol=1e-4)


def test_few_colours_and_no_masks(record_tiny, tmp_path):
    recorded = record_tiny("Detr")
    paths = write_pictures(recorded, build_payload(recorded), tmp_path, width=60, colors=9)
    assert [path.name for path in paths] == [
        "1_backbone.png",
        "2_encoder.png",
        "3_encoder_attention.png",
        "4_decoder_attention.png",
    ]
    sizes = []
    for path in paths:
        image = Image.open(path)
        assert image.mode == "P" and len(image.getcolors()) <= 9
        sizes.append(image.size[0])
    # Margins of 28, gaps of 12 between pictures.
    assert sizes == [56 + 60 * n + 12 * (n - 1) for n in (5, 3, 3, 3)]
