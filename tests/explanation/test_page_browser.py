"""The explanation page in a real browser, against the tensors of the pass that it shows."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import Visit, launch
from tiny_model import tiny_cfg

from detr_d2.engine import Predictor
from detr_d2.explanation.build_payload import build_payload
from detr_d2.explanation.capture import run_mask_head
from detr_d2.explanation.page import build_page
from detr_d2.explanation.payload import Payload
from detr_d2.explanation.recorded_pass import RecordedPass, record_pass
from detr_d2.modeling.panoptic_merge import panoptic_inference
from detr_d2.ops.masks import unpad_and_resize
from detr_d2.visualization import Palette

UNTIDY = "<script>window.hacked = 1</script> & <b>brick</b>"
NAMES = [UNTIDY, "pipe", "sky", "soil", "wall"]
SIZE = (130, 200)


@dataclass
class Explained:
    """A page, the pass that it shows, and the data in it."""

    file: Path
    recorded: RecordedPass
    payload: Payload

    @property
    def cells(self) -> tuple[int, int]:
        h, w = self.recorded.trace.get("projected").shape[-2:]
        return h, w


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """A tiny model that finds several things and two classes of stuff, in a non-square image."""
    cfg = tiny_cfg()
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = SIZE
    torch.manual_seed(7)
    predictor = Predictor(cfg)
    model = predictor.model
    model.postprocess.thing_ids = frozenset({0, 1})
    model.postprocess.score_thresh = 0.3
    with torch.no_grad():
        model.box_head.class_embed.weight *= 8
        model.query_embed.weight *= 3
        model.mask_head.output.weight *= 300
        # So that queries differ from one another, as those of a trained model do.
        for part in (model.transformer.decoder, model.bbox_attention, model.transformer.encoder):
            for parameter in part.parameters():
                if parameter.dim() == 2:
                    parameter *= 2
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    picture[40:90, 60:120] = (200, 60, 50)
    palette = Palette(NAMES, thing_ids=(0, 1))
    recorded = record_pass(predictor, picture, palette, title="<i>site</i>.jpg")
    payload = build_payload(recorded)
    kinds = [s["isthing"] for s in payload.meta["merge"]["result"]["segments"]]
    assert len(kinds) >= 3 and len(set(kinds)) == 2, "the seed gives a dull image: choose another"
    file = tmp_path_factory.mktemp("page") / "explain.html"
    file.write_text(build_page(payload), encoding="utf-8")
    return Explained(file, recorded, payload)


@pytest.fixture(scope="module")
def browser():
    with launch() as program:
        yield program


@pytest.fixture
def visit(browser, explained):
    opened = Visit(browser, explained.file, viewport={"width": 1280, "height": 800})
    yield opened
    opened.close()


def last_number(text: str) -> float:
    found = re.findall(r"[−-]?\d+(?:\.\d+)?(?:e[−-]?\d+)?", text)
    return float(found[-1].replace("−", "-"))


def centre(cell: tuple[int, int], explained: Explained) -> tuple[float, float]:
    """A cell of the encoded image as fractions of the image, which ends within the last cells."""
    network = explained.payload.meta["image"]["network"]
    y, x = ((at + 0.3) * 32 / size for at, size in zip(cell, network, strict=True))
    return y, x


def walk_through(visit: Visit) -> None:
    for stop in visit.page.locator(".stop").all():
        stop.evaluate("stop => stop.scrollIntoView({ behavior: 'instant' })")
        visit.settle()


def test_no_request_leaves_the_page_and_nothing_is_complained_about(visit, explained):
    walk_through(visit)
    assert [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert visit.requests.count(explained.file.as_uri()) == 1
    assert visit.complaints == []


def test_all_stops_questions_and_misunderstandings_are_there(visit, explained):
    meta = explained.payload.meta
    stops = visit.page.locator(".stop").evaluate_all("all => all.map(stop => stop.dataset.stop)")
    assert stops == [stop["id"] for stop in meta["stops"]]
    assert visit.page.locator(".question").count() == len(meta["questions"]) == 8
    assert visit.page.locator(".misunderstanding").count() == len(meta["misunderstandings"])
    shape = visit.text("#stop-bbox_attention .shape")
    h, w = explained.cells
    assert shape.endswith(f"= {meta['model']['queries']} × {meta['model']['maps']} × {h} × {w}")


def test_names_out_of_the_data_are_shown_as_text(visit):
    assert visit.page.evaluate("window.hacked") is None
    assert UNTIDY in visit.page.locator("body").inner_text()
    assert visit.text("h1 em") == "<i>site</i>.jpg"
    assert visit.page.title().startswith("<i>site</i>.jpg")


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


def torch_merge(explained: Explained, threshold: float, min_area: int) -> list[dict[str, Any]]:
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
    ("threshold", "min_area"), [(0.3, 5), (0.25, 0), (0.3, 3500), (0.45, 5), (0.6, 5000), (0.99, 5)]
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


def test_arrow_keys_move_the_cell_of_all_pictures(visit):
    section = visit.show("#encoder-attention")
    frame = section.locator(".heat").first
    frame.focus()
    before = visit.text("#inspector .place")
    row, column = map(int, re.findall(r"\d+", before)[:2])
    visit.page.keyboard.press("ArrowLeft")
    visit.page.keyboard.press("ArrowUp")
    visit.settle()
    moved = list(map(int, re.findall(r"\d+", visit.text("#inspector .place"))[:2]))
    assert moved == [max(row - 1, 0), max(column - 1, 0)]
    other = visit.show("#bbox-attention").locator("output").inner_text()
    assert other.startswith(f"row {moved[0]}, column {moved[1]}:")


def test_everything_is_reached_by_the_tab_key_with_a_visible_focus(visit):
    walk_through(visit)
    visit.page.evaluate("window.scrollTo({ top: 0, behavior: 'instant' })")
    reached = visit.page.evaluate(
        """() => [...document.querySelectorAll('button:enabled, input, select, summary, .heat, a[href]')]
            .filter(element => element.offsetParent !== null && element.tabIndex < 0).length"""
    )
    assert reached == 0
    visit.page.keyboard.press("Tab")
    for _ in range(8):
        visit.page.keyboard.press("Tab")
        outline = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    names = visit.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [role=application]')]
            .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label'))).length"""
    )
    assert names == 0


def test_sliders_obey_the_arrow_keys(visit):
    section = visit.show("#live-merge")
    slider = section.get_by_role("slider", name="score threshold", exact=True)
    field = section.get_by_label("score threshold, exact value")
    before = float(field.input_value())
    slider.focus()
    visit.page.keyboard.press("ArrowRight")
    assert float(field.input_value()) == pytest.approx(before + 0.01, abs=1e-6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(browser, explained, scheme):
    visit = Visit(
        browser, explained.file, viewport={"width": 375, "height": 700}, color_scheme=scheme
    )
    walk_through(visit)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 375
    visit.page.locator(".menu").click()
    assert visit.page.locator(".schematic").is_visible()
    paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 3 * 128
    assert light == (scheme == "light")
    assert visit.complaints == []
    visit.close()


def test_the_button_changes_from_light_to_dark(visit):
    colour = "getComputedStyle(document.body).backgroundColor"
    before = visit.page.evaluate(colour)
    visit.page.locator("button.theme").click()
    assert visit.page.evaluate(colour) != before
