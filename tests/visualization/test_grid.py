import os

import numpy as np
import pytest
from PIL import Image

from detr_d2.visualization import Palette, image_grid, save_picture
from detr_d2.visualization.grid import PAPER

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
