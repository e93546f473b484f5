"""The explanation page in a real browser: nothing from outside, keyboard, phone, light and dark."""

import re

import pytest
from browser import Visit


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


def test_names_out_of_the_data_are_shown_as_text(visit, explained):
    assert "<script>" in explained.payload.meta["categories"][0]["name"]
    assert visit.page.evaluate("window.hacked") is None
    assert (
        explained.payload.meta["categories"][0]["name"] in visit.page.locator("body").inner_text()
    )
    assert visit.text("h1 em") == "<i>site</i>.jpg"
    assert visit.page.title().startswith("<i>site</i>.jpg")


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
        """() => [...document.querySelectorAll('button:enabled, input, summary, .heat, a[href]')]
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


def test_a_model_without_masks_has_the_stops_that_it_has(browser, explained_boxes):
    visit = Visit(browser, explained_boxes.file, viewport={"width": 1280, "height": 800})
    walk_through(visit)
    stops = visit.page.locator(".stop").evaluate_all("all => all.map(stop => stop.dataset.stop)")
    assert stops[-1] == "boxes"
    assert visit.page.locator(".schematic .node").count() == len(stops)
    assert visit.page.locator(".masthead-picture .boxes").count() == 1
    assert visit.complaints == []
    visit.close()
