import os
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from detr_d2.ops.panoptic_ids import id_to_rgb
from detr_d2.pseudo_labels.review import write_review
from detr_d2.pseudo_labels.review_item import ReviewItem
from detr_d2.pseudo_labels.review_page import legend
from detr_d2.visualization import Palette

YELLOW, BLUE, BROWN = (230, 180, 30), (110, 180, 230), (130, 90, 50)
MASKS = Palette(["barrel"], [YELLOW], thing_ids=[0])
RESULT = Palette(["barrel", "sky & air", "soil"], [YELLOW, BLUE, BROWN], thing_ids=[0])
CUSTOM = {"source": "custom", "classes": [], "score": None, "filled": 0}
BARREL = {"id": 1, "category_id": 0, "isthing": True, "provenance": CUSTOM}


def stuff(number, category, score, classes, filled=0):
    origin = {"source": "model", "classes": classes, "score": score, "filled": filled}
    return {"id": number, "category_id": category, "isthing": False, "provenance": origin}


def record(folder, stem, image, ids, segments):
    path = folder / f"{stem}.png"
    Image.fromarray(id_to_rgb(ids)).save(path)
    return {"file_name": str(image), "pan_seg_file_name": str(path), "segments_info": segments}


@pytest.fixture
def items(tmp_path):
    """A wide image with a barrel and no void, and a tall one without masks, half of it void."""
    folder = tmp_path / "data"
    folder.mkdir()
    images = {"wide": (30, 60), "tall": (50, 40)}
    for stem, size in images.items():
        Image.fromarray(np.full((*size, 3), 100, np.uint8)).save(folder / f"{stem}.jpg")
    ids = np.full(images["wide"], 2)
    ids[15:] = 3
    ids[10:25, 20:40] = 1
    segments = [stuff(3, 2, 0.9, ["dirt"]), BARREL, stuff(2, 1, 0.8, ["sky", "fog"], 1234)]
    wide = ReviewItem(
        name="wide.jpg",
        custom=record(folder, "wide-masks", folder / "wide.jpg", ids * (ids == 1), [BARREL]),
        labels=record(folder, "wide-labels", folder / "wide.jpg", ids, segments),
        score=0.8,
        void_share=0.0,
    )
    ids = np.zeros(images["tall"], int)
    ids[:, :20] = 2
    tall = ReviewItem(
        name='deep/<b>"tall" & more.jpg',
        custom=record(folder, "tall-masks", folder / "tall.jpg", ids * 0, []),
        labels=record(
            folder, "tall-labels", folder / "tall.jpg", ids, [stuff(2, 1, 0.25, ["<i>sky"])]
        ),
        score=0.25,
        void_share=0.5,
    )
    return [wide, tall]


def write(items, folder, **options):
    chosen = {"custom_palette": MASKS, "palette": RESULT, "title": "Site <A>", **options}
    return write_review(items, folder, **chosen)


class Page(HTMLParser):
    """Tags in order, their attributes, and the text of every kind of element."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self._open = [], {}, []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            for tag in self._open:
                self.texts.setdefault(tag, []).append(data.strip())

    def all(self, tag, key):
        return [attrs[key] for name, attrs in self.tags if name == tag and key in attrs]


def test_the_worst_comes_first_and_texts_are_shown_as_they_are(items, tmp_path):
    path = write(items, tmp_path / "review")
    assert path == tmp_path / "review" / "index.html"
    page = Page(path)
    assert page.texts["h1"] == ["Site <A>"]
    assert page.texts["h2"] == ["1", 'deep/<b>"tall" & more.jpg', "2", "wide.jpg"]
    names = {tag for tag, _ in page.tags}
    assert not names & {"b", "i"}, "data never becomes an element"
    header = " ".join(page.texts["header"])
    assert "2 images , 1 with void." in header
    assert "All are shown" in header
    assert "worst score 0.25 void 50.0 %" in header
    assert "worst score 0.80 no void" in header
    assert page.texts["li"] == ["barrel", "sky & air", "soil", "void"]


def test_the_segments_stand_in_a_table_the_least_certain_first(items, tmp_path):
    page = Page(write(items, tmp_path / "review"))
    cells = page.texts["tbody"]
    assert [cells[i : i + 5] for i in range(0, len(cells), 5)] == [
        ["sky & air", "model", "<i>sky", "0.25", "–"],
        ["sky & air", "model", "sky, fog", "0.80", "1,234"],
        ["soil", "model", "dirt", "0.90", "–"],
        ["barrel", "custom", "–", "–", "–"],
    ]
    swatches = page.all("span", "style")
    blue, brown, yellow = (f"background:#{bytes(c).hex()}" for c in (BLUE, BROWN, YELLOW))
    assert swatches[-3:] == [blue, brown, yellow]


def test_pictures_are_described_in_words_and_images_are_found_by_them(items, tmp_path):
    page = Page(
        write(items, tmp_path / "review", custom_palette=Palette(['"drum" <&lt;>'], [YELLOW]))
    )
    tall, wide = 'deep/<b>"tall" & more.jpg', "wide.jpg"
    assert page.all("img", "alt") == [
        f"{tall}: the image",
        f"{tall}: no segments",
        f"{tall}: 1 sky & air",
        f"{tall}: void 50.0 %, hatched",
        f"{wide}: the image",
        f'{wide}: 1 "drum" <&lt;>',
        f"{wide}: 1 soil, 1 barrel, 1 sky & air",
        f"{wide}: no void",
    ]
    words = page.all("article", "data-words")
    assert words == [f"{tall} sky & air", f"{wide} soil barrel sky & air"]
    # What "only with void" looks for.
    assert ["data-void" in attrs for tag, attrs in page.tags if tag == "article"] == [True, False]
    assert page.texts["summary"][1:] == ["1 segment", "3 segments"]


def test_links_are_relative_and_lead_to_files(items, tmp_path):
    path = write(items, tmp_path / "review")
    page = Page(path)
    anchors = {f"#{name}" for name in page.all("article", "id")}
    links = [*page.all("a", "href"), *page.all("img", "src")]
    files = {link for link in links if link not in anchors}
    assert len(page.all("img", "src")) == 8
    assert set(page.all("img", "loading")) == {"lazy"}
    assert all(page.all("img", "alt"))
    written = {str(p.relative_to(path.parent)) for p in path.parent.rglob("*") if p.is_file()}
    assert written == files | {"index.html"}
    assert not page.all("script", "src") and not page.all("link", "href")
    assert "//" not in path.read_text(encoding="utf-8")


def test_the_four_pictures_of_a_image_have_one_size_twice_that_on_the_page(items, tmp_path):
    path = write(items, tmp_path / "review", width=100)
    sizes = {p.name: Image.open(p).size for p in (path.parent / "pictures").iterdir()}
    kinds = ("image", "custom", "result", "void")
    assert sizes == {
        **{f"0001-{kind}.jpg": (200, 250) for kind in kinds},
        **{f"0002-{kind}.jpg": (200, 100) for kind in kinds},
    }
    page = Page(path)
    for tag, attrs in page.tags:
        if tag == "img":
            said = int(attrs["width"]), int(attrs["height"])
            assert sizes[os.path.basename(attrs["src"])] == said
    # Four columns of 100, two rows of 125 and 50.
    width, height = Image.open(path.parent / "worst.jpg").size
    assert width > 400 and height > 175


def test_each_picture_shows_its_own(items, tmp_path):
    path = write(items, tmp_path / "review", width=100)

    def pixel(name, x, y):
        # JPEG: the mean of a small patch.
        picture = np.asarray(Image.open(path.parent / "pictures" / name)).astype(float)
        return picture[y - 3 : y + 4, x - 3 : x + 4].mean(axis=(0, 1))

    def is_grey(color):
        return np.ptp(color) < 12

    # The tall image, 5 times as large: sky at the left, void at the right.
    assert is_grey(pixel("0001-image.jpg", 150, 125))
    red, _, blue = pixel("0001-result.jpg", 50, 220)
    assert blue - red > 30
    assert is_grey(pixel("0001-result.jpg", 150, 220))
    red, low, _ = pixel("0001-void.jpg", 150, 125)
    assert red > 200 and red - low > 80
    assert is_grey(pixel("0001-void.jpg", 50, 125))
    # The wide one, 200 / 60 as large: the barrel's edge, off its label.
    for kind in ("custom", "result"):
        red, _, blue = pixel(f"0002-{kind}.jpg", 75, 74)
        assert red - blue > 60
    assert is_grey(pixel("0002-custom.jpg", 20, 20))
    assert is_grey(pixel("0002-void.jpg", 20, 20))
    # The unmasked part of the image can still be made out, better than void.
    assert pixel("0002-custom.jpg", 20, 20).mean() > pixel("0001-result.jpg", 150, 220).mean() + 10


def test_what_is_not_there_is_said(items, tmp_path):
    path = write(items, tmp_path / "review", width=100)
    white = {
        name: (np.asarray(Image.open(path.parent / "pictures" / name)) > 225).all(axis=2).sum()
        for name in ("0001-custom.jpg", "0001-image.jpg", "0002-void.jpg")
    }
    assert white["0001-image.jpg"] == 0
    assert white["0001-custom.jpg"] > 20, "letters: no custom masks"
    assert white["0002-void.jpg"] > 20, "letters: no void"
    empty = replace(items[1], labels={**items[1].labels, "segments_info": []}, void_share=1.0)
    page = Page(write([empty], tmp_path / "empty"))
    assert "No segments: all is void." in page.texts["p"]


def test_the_limit_keeps_the_worst_and_says_so_and_ties_go_by_name(items, tmp_path):
    wide, tall = items
    many = [replace(wide, name=f"{n}.jpg", score=s) for n, s in [("c", 0.9), ("b", 0.5)]]
    many += [replace(tall, name="a.jpg", score=0.5), replace(wide, name="d.jpg", score=0.1)]
    seen = []
    path = write(
        many, tmp_path / "r", limit=3, progress=lambda done, to_do: seen.append((done, to_do))
    )
    page = Page(path)
    assert page.texts["h2"][1::2] == ["d.jpg", "a.jpg", "b.jpg"]
    assert "The 3 with the worst scores are shown" in " ".join(page.texts["header"])
    assert "4 images" in page.texts["header"]
    assert len(os.listdir(path.parent / "pictures")) == 12
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_grid_has_eight_images_at_most(items, tmp_path):
    heights = []
    for count in (1, 8, 9):
        many = [replace(items[0], name=f"{n}.jpg") for n in range(count)]
        path = write(many, tmp_path / "review", width=60)
        heights.append(Image.open(path.parent / "worst.jpg").size[1])
    # Seven rows more, each 30 pixels high and a caption.
    assert heights[1] == heights[2] > heights[0] + 7 * 30


def test_only_the_worst_are_kept_in_memory(items, tmp_path):
    def endless():
        for number in range(3000):
            # 10 kB each that nobody else holds: 30 MB if they were kept.
            extra = {"ballast": bytes(10_000)}
            yield replace(items[0], score=1 - number / 3000, custom={**items[0].custom, **extra})

    tracemalloc.start()
    write(endless(), tmp_path / "review", limit=2, width=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6


def test_the_same_items_in_any_order_give_the_same_bytes(items, tmp_path):
    def content(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    write(items, tmp_path / "one")
    write(iter(items[::-1]), tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_an_error_on_the_way_leaves_the_old_review_whole(items, tmp_path):
    path = write(items, tmp_path / "review", title="Old")
    before = {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}
    lost = {**items[0].labels, "pan_seg_file_name": str(tmp_path / "lost.png")}
    with pytest.raises(OSError, match=r"lost\.png"):
        write([items[1], replace(items[0], labels=lost)], tmp_path / "review", title="New")
    assert {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()} == before
    assert sorted(os.listdir(tmp_path)) == ["data", "review"]
    write(items[:1], tmp_path / "review", title="New")
    assert Page(path).texts["h1"] == ["New"]
    assert len(os.listdir(path.parent / "pictures")) == 4
    assert sorted(os.listdir(tmp_path)) == ["data", "review"]


def test_a_folder_of_something_else_is_left_alone(items, tmp_path):
    with pytest.raises(FileExistsError, match=r"holds \['tall-labels\.png', .*not a review"):
        write(items, tmp_path / "data")
    assert (tmp_path / "data" / "wide.jpg").is_file()
    assert os.listdir(tmp_path) == ["data"]


def test_a_name_that_is_no_text_is_shown_as_far_as_it_goes(items, tmp_path):
    path = write([replace(items[0], name="bad\udcff\nname.jpg")], tmp_path / "review")
    assert Page(path).texts["h2"] == ["1", "bad? name.jpg"]


def test_a_long_table_is_folded_up(items, tmp_path):
    def opened(count):
        segments = [stuff(number, 2, 0.5, ["dirt"]) for number in range(1, count + 1)]
        item = replace(items[0], labels={**items[0].labels, "segments_info": segments})
        tags = Page(write([item], tmp_path / "review", width=60)).tags
        # The first one on the page is not a table.
        return ["open" in attrs for tag, attrs in tags if tag == "details"][1]

    assert opened(12)
    assert not opened(13)


def test_the_legend_lists_what_occurs_and_tells_equal_names_apart(items):
    assert legend(items[1:], MASKS, RESULT) == [("sky & air", BLUE)]
    other = Palette(["barrel"], [(1, 2, 3)])
    assert legend(items[:1], other, RESULT) == [
        ("barrel", YELLOW),
        ("sky & air", BLUE),
        ("soil", BROWN),
        ("barrel (custom mask)", (1, 2, 3)),
    ]
    assert legend(items[:1], Palette(["drum"], [YELLOW]), RESULT)[-1] == ("drum", YELLOW)


def test_wrong_values_are_errors(items, tmp_path):
    with pytest.raises(ValueError, match=r"wide\.jpg: score nan, allowed: 0\.\.1"):
        replace(items[0], score=float("nan"))
    with pytest.raises(ValueError, match=r"void_share 50, allowed"):
        replace(items[0], void_share=50)
    with pytest.raises(ValueError, match="limit 0; allowed: 60 or more, 1 or more"):
        write(items, tmp_path / "review", limit=0)
    with pytest.raises(ValueError, match="no image to review"):
        write([], tmp_path / "review")
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "no void"), (0.0004, "void < 0.1 %"), (0.034, "void 3.4 %")]
)
def test_the_void_share_in_words(items, share, text):
    assert replace(items[0], void_share=share).void_text == text
