import os

import numpy as np
import pytest
from PIL import Image, ImageDraw

from detr_d2.visualization import Palette, image_grid, save_picture
from detr_d2.visualization.grid import LEGEND, PAPER
from detr_d2.visualization.labels import text_size

PALETTE = Palette(["barrel", "grass", "sky"], [(220, 20, 20), (20, 200, 20), (90, 160, 240)])


def plain(height, width, color):
    return np.full((height, width, 3), color, np.uint8)


def find(grid, color):
    """Box (top, left, height, width) of the pixels of one colour."""
    rows, cols = np.nonzero((grid == color).all(axis=2))
    return rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1


def test_pictures_keep_their_size_and_stand_in_rows_and_columns():
    colors = [[(10, 0, 0), (0, 10, 0)], [(0, 0, 10), (10, 10, 0)]]
    heights = [30, 50]
    rows = [
        [plain(height, 60, color) for color in line]
        for height, line in zip(heights, colors, strict=True)
    ]
    grid = image_grid(rows, ["image", "ground_truth"])
    places = [[find(grid, color) for color in line] for line in colors]
    for line, height in zip(places, heights, strict=True):
        assert [place[2:] for place in line] == [(height, 60)] * 2
        assert line[0][0] == line[1][0]
        assert line[0][1] < line[1][1] - 60
    assert places[1][0][0] >= places[0][0][0] + 30
    assert places[1][0][1] == places[0][0][1]
    assert grid[0, 0].tolist() == list(PAPER)


def test_no_picture_lies_over_another_whatever_their_sizes():
    sizes = [[(20, 30), (50, 60)], [(40, 90), (10, 20)]]
    colors = [[(10, 0, 0), (0, 10, 0)], [(0, 0, 10), (10, 10, 0)]]
    rows = [
        [plain(*size, color) for size, color in zip(*line, strict=True)]
        for line in zip(sizes, colors, strict=True)
    ]
    places = [find(image_grid(rows, ["", ""]), c) for line in colors for c in line]
    assert [place[2:] for place in places] == [size for line in sizes for size in line]
    (top, left, *_), (_, right, *_), (below, *_), _ = places
    assert below >= top + 50 and right >= left + 90


def test_a_name_without_an_extension_of_images_is_rejected(tmp_path):
    for name in ("grid", "grid.txt", "grid.csv"):
        with pytest.raises(ValueError, match=f"{name}: an image needs an extension such as .png"):
            save_picture(tmp_path / name, plain(4, 4, 0))
    assert os.listdir(tmp_path) == []


def test_the_legend_lists_the_categories_asked_for_and_breaks_lines():
    rows = [[plain(20, 90, 50)]]
    without = image_grid(rows, ["image"])
    grid = image_grid(rows, ["image"], palette=PALETTE, categories=[2, 0])
    assert grid.shape[0] > without.shape[0]
    red, blue = find(grid, PALETTE.colors[0]), find(grid, PALETTE.colors[2])
    assert red[0] < blue[0]  # 90 pixels have room for one entry a line
    assert not (grid == PALETTE.colors[1]).all(axis=2).any()


def test_title_and_captions_make_room():
    rows = [[plain(20, 200, 50)], [plain(20, 200, 50)]]
    bare = image_grid(rows, ["image"]).shape[0]
    captioned = image_grid(rows, ["image"], captions=["a.jpg", "b.jpg"]).shape[0]
    titled = image_grid(rows, ["image"], title="Site").shape[0]
    assert captioned > bare + 20
    assert titled > bare + 20


def below(grid, left, width):
    """The pixels under the pictures that are not paper, of some columns."""
    return (grid[-40:, left : left + width] != PAPER).any(axis=2)


def test_each_picture_has_its_own_caption_that_stays_within_its_width():
    left, right = plain(20, 90, 50), plain(20, 90, 60)
    name = "a/very/long/path/to/some/image_0001.jpg"
    grid = image_grid([[left, right]], ["", ""], captions=[[name, ""]])
    assert below(grid, 28, 90).any()
    assert not below(grid, 28 + 90, 12 + 90).any(), "beyond its picture"
    # The end of a name is what differs.
    other = image_grid([[left, right]], ["", ""], captions=[[name.replace("0001", "0002"), ""]])
    assert not np.array_equal(grid, other)
    with pytest.raises(ValueError, match="zip"):
        image_grid([[left, right]], ["", ""], captions=[["a"]])


def test_wrong_numbers_are_errors():
    picture = plain(4, 4, 0)
    with pytest.raises(ValueError, match=r"pictures per row: \[1\], but 2 columns"):
        image_grid([[picture]], ["a", "b"])
    with pytest.raises(ValueError, match="1 captions for 2 rows"):
        image_grid([[picture], [picture]], ["a"], captions=["x"])
    with pytest.raises(ValueError, match="pictures per row"):
        image_grid([], ["a"])


def test_saved_picture_is_read_back(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_picture(tmp_path / "deep" / "a.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep" / "a.png")), picture)
    assert os.listdir(tmp_path / "deep") == ["a.png"]


@pytest.fixture
def written(monkeypatch):
    """What is written: text, left, top, height of the letters."""
    texts, write = [], ImageDraw.ImageDraw.text

    def note(draw, place, text, font, **more):
        texts.append((text, *place, font.size))
        write(draw, place, text, font=font, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def test_every_text_stands_at_what_it_names(written):
    """Three rows of two pictures, and a line of the legend for each class."""
    sizes = [[(20, 90), (20, 60)], [(50, 70), (9, 60)], [(30, 90), (30, 40)]]
    rows = [
        [plain(*size, (number, column, 7)) for column, size in enumerate(line)]
        for number, line in enumerate(sizes)
    ]
    options = {"palette": PALETTE, "categories": [2, 0, 1], "title": "Site 7"}
    grid = image_grid(rows, ["image", "found"], captions=["one", "two", "three"], **options)
    places = [find(grid, (row, column, 7)) for row in range(3) for column in range(2)]
    assert [place[2:] for place in places] == [size for line in sizes for size in line]
    title, image, found, *captions = written[:6]
    legend = written[6:]
    assert title[0] == "Site 7" and title[2] < image[2] == found[2] < places[0][0]
    assert title[3] > image[3] > captions[0][3]
    assert [(text, left) for text, left, *_ in (image, found)] == [
        ("image", places[0][1]),
        ("found", places[1][1]),
    ]
    assert [text for text, *_ in captions] == ["one", "two", "three"]
    bottoms = [places[2 * row][0] + sizes[row][0][0] for row in range(3)]
    tops = [places[2][0], places[4][0], legend[0][2]]
    for (_, left, top, _), above, below in zip(captions, bottoms, tops, strict=True):
        assert left == places[0][1] and above <= top < below - 8
    assert [text for text, *_ in legend] == PALETTE.names
    boxes = [find(grid, color) for color in PALETTE.colors]
    assert len({box[2:] for box in boxes}) == 1, "none is cut off at the bottom"
    for (_, left, top, _), box in zip(legend, boxes, strict=True):
        assert left > box[1] + box[3] and abs(top - box[0]) < 6


def test_classes_of_one_line_do_not_lie_on_one_another(written):
    grid = image_grid([[plain(20, 500, 50)]], [""], palette=PALETTE, categories=[0, 1, 2])
    boxes = [find(grid, color) for color in PALETTE.colors]
    assert len({box[0] for box in boxes}) == 1
    for (text, left, _, size), after in zip(written[1:], boxes[1:], strict=False):
        assert left + text_size(text, size)[0] < after[1]


def test_a_line_of_the_legend_that_just_fits_is_one_line():
    wide = 2 * (LEGEND + 30) + sum(text_size(PALETTE.names[i], LEGEND)[0] for i in (0, 1))
    for width, lines in ((wide, 1), (wide - 1, 2)):
        grid = image_grid([[plain(9, width, 50)]], [""], palette=PALETTE, categories=[0, 1])
        assert len({find(grid, color)[0] for color in PALETTE.colors[:2]}) == lines


def test_a_caption_of_a_whole_row_may_be_as_wide_as_the_row(written):
    caption = "east wall, second floor, camera 4"
    image_grid([[plain(9, 100, 0), plain(9, 150, 0)]], ["", ""], captions=[caption])
    assert text_size(caption, written[-1][3])[0] > 100
    assert written[-1][0] == caption


def test_extensions_in_any_case(tmp_path):
    save_picture(tmp_path / "A.PNG", plain(4, 5, 7))
    assert Image.open(tmp_path / "A.PNG").size == (5, 4)
