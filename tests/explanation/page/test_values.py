"""The numbers on the explanation page against the tensors of the pass that it shows."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from detr_d2.explanation.capture import run_mask_head
from detr_d2.modeling.panoptic_merge import panoptic_inference
from detr_d2.ops.masks import unpad_and_resize


def last_number(text: str) -> float:
    found = re.findall(r"[−-]?\d+(?:\.\d+)?(?:e[−-]?\d+)?", text)
    return float(found[-1].replace("−", "-"))


def centre(cell: tuple[int, int], explained: Any) -> tuple[float, float]:
    """A cell of the encoded image as fractions of the image, which ends within the last cells."""
    network = explained.payload.meta["image"]["network"]
    y, x = ((at + 0.3) * 32 / size for at, size in zip(cell, network, strict=True))
    return y, x


@pytest.mark.parametrize("head", [0, 3])
def test_encoder_attention_of_a_clicked_cell_is_that_of_torch(visit, explained, head):
    section = visit.show("#encoder-attention")
    section.locator(f".choice [data-value='{head}']").last.click()
    chosen, other = (1, 2), (2, 5)
    to, back = section.locator(".heat").all()
    box = to.bounding_box()
    y, x = centre(chosen, explained)
    to.click(position={"x": x * box["width"], "y": y * box["height"]})
    visit.settle()
    weights = explained.recorded.trace.encoder[-1].weights()[0, head]
    w = explained.cells[1]
    i, j = chosen[0] * w + chosen[1], other[0] * w + other[1]
    tolerance = explained.payload.meta["encoder"]["tolerance"]
    for frame, expected, row in (
        (to, weights[i, j], weights[i]),
        (back, weights[j, i], weights[j]),
    ):
        visit.hover_cell(frame, *centre(other, explained))
        text = frame.locator("xpath=../div[@class='side']/output").inner_text()
        assert f"row {other[0]}, column {other[1]}" in text
        assert f"row {chosen[0]}, column {chosen[1]}" in text
        allowed = tolerance * row.max().item() + 1e-3 * expected.item()
        assert last_number(text) == pytest.approx(expected.item(), abs=allowed)


def test_bbox_attention_follows_the_query_and_shows_torchs_weights(visit, explained):
    query = explained.payload.meta["followed"][-1]
    visit.page.locator("#inspector select").select_option(str(query))
    section = visit.show("#bbox-attention")
    maps = explained.recorded.trace.get("bbox_attention")[query]
    cell = (3, 4)
    tolerance = explained.payload.meta["arrays"]["bbox-attention"]["tolerance"]
    for head in range(len(maps)):
        section.locator(".choice button").nth(head + 1).click()
        visit.settle()
        visit.hover_cell(section.locator(".heat"), *centre(cell, explained))
        shown = last_number(section.locator("output").inner_text())
        expected = maps[head][cell].item()
        assert shown == pytest.approx(expected, abs=tolerance + 1e-3 * expected)


def test_a_click_on_a_segment_follows_its_query_through_all_stops(visit, explained):
    meta = explained.payload.meta
    ids = explained.recorded.output["panoptic_seg"][0].numpy()
    segment = meta["merge"]["result"]["segments"][-1]
    ys, xs = np.nonzero(ids == segment["id"])
    frame = visit.page.locator(".masthead-picture .heat")
    visit.page.wait_for_selector(".masthead-picture .picture[data-drawn=true]")
    box = frame.bounding_box()
    place = {
        "x": (xs[0] + 0.5) / ids.shape[1] * box["width"],
        "y": (ys[0] + 0.5) / ids.shape[0] * box["height"],
    }
    frame.click(position=place)
    query = next(q for q in segment["queries"] if q in meta["followed"])
    visit.page.wait_for_selector(f"#inspector select:has(option[value='{query}']:checked)")
    for selector in ("#decoder-attention", "#bbox-attention", "#mask-logits", ".stage:last-child"):
        assert f"query {query}:" in visit.show(selector).locator("figcaption").first.inner_text()


def test_mask_logits_are_those_of_the_mask_head(visit, explained):
    meta = explained.payload.meta
    query = meta["followed"][0]
    visit.page.locator("#inspector select").select_option(str(query))
    section = visit.show("#mask-logits")
    logits, _ = run_mask_head(explained.recorded.model, explained.recorded.trace, [query])
    h, w = logits.shape[-2:]
    tolerance = meta["arrays"][meta["masks"]["logits"]]["tolerance"]
    for y, x in ((3, 5), (h - 2, w - 7)):
        visit.hover_cell(section.locator(".heat"), (y + 0.5) / h, (x + 0.5) / w)
        text = section.locator("output").inner_text().split(",")
        assert text[:2] == [f"row {y}", f" column {x}: logit {text[1].split()[-1]}"]
        expected = logits[0, y, x].item()
        assert last_number(text[1]) == pytest.approx(expected, abs=tolerance, rel=1e-3)


def torch_merge(explained: Any, threshold: float, min_area: int) -> list[dict[str, Any]]:
    """`panoptic_inference` on the masks of the mask head, not on those in the page."""
    recorded, meta = explained.recorded, explained.payload.meta
    scores, classes = (
        torch.tensor([query[key] for query in meta["queries"]]) for key in ("score", "class")
    )
    competing = recorded.competing(threshold)
    masks, _ = run_mask_head(recorded.model, recorded.trace, competing)
    network = tuple(meta["image"]["network"])
    _, segments = panoptic_inference(
        unpad_and_resize(masks, network, network, recorded.size),
        scores[competing],
        classes[competing],
        thing_ids=frozenset(meta["merge"]["thing_ids"]),
        min_area=min_area,
    )
    return segments


@pytest.mark.parametrize(
    ("threshold", "min_area"),
    [(0.3, 5), (0.25, 0), (0.3, 2400), (0.9, 5), (0.85, 4000), (0.999, 5)],
)
def test_the_sliders_give_the_segments_of_panoptic_inference(visit, explained, threshold, min_area):
    section = visit.show("#live-merge")
    for label, value in (("score threshold", threshold), ("minimum area", min_area)):
        field = section.get_by_label(f"{label}, exact value")
        field.fill(str(value))
        field.press("Tab")
    visit.settle()
    found = json.loads(section.locator(".verdict").get_attribute("data-segments"))
    expected = torch_merge(explained, threshold, min_area)
    kinds = [[s["id"], s["category_id"], s["isthing"]] for s in expected]
    assert [[s["id"], s["category_id"], s["isthing"]] for s in found] == kinds
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-6)
        # The page's logits are rounded, so that pixels at a border may go to the neighbour.
        assert ours["area"] == pytest.approx(theirs["area"], rel=0.02, abs=20)
    assert section.locator("tbody tr").count() == len(expected)
