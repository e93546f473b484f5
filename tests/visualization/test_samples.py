import numpy as np
from detectron2.structures import BoxMode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detr_d2.visualization import Palette, image_grid, samples
from detr_d2.visualization.samples import Cell, cover_classes, file_cell, pair_grid


def test_every_class_is_shown_by_few_images():
    classes = [{0}, {0, 1}, {2}, {0, 1, 2}, {3}, set(), {0}]
    # Image 3 has three of the four classes; the others are spread over the rest.
    assert cover_classes(classes, 2) == [3, 4]
    assert cover_classes(classes, 1) == [3, 4], "the classes need more"
    assert cover_classes(classes, 3) == [2, 3, 4]
    assert cover_classes(classes, 100) == list(range(7))
    assert cover_classes([], 4) == []


@given(st.lists(st.sets(st.integers(0, 9))), st.integers(1, 12))
def test_always(classes, count):
    chosen = cover_classes(classes, count)
    assert chosen == sorted(set(chosen))
    assert set().union(*(classes[i] for i in chosen)) == set().union(*classes)
    assert len(chosen) >= min(count, len(classes))


def test_a_cell_has_the_image_at_its_width_and_says_its_own_size(tmp_path):
    Image.new("RGB", (40, 30), (9, 99, 199)).save(tmp_path / "a.png")
    box = {"bbox": [2, 3, 9, 9], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 1}
    record = {"file_name": str(tmp_path / "a.png"), "annotations": [box]}
    cell = file_cell(record, Palette(["nut", "bolt"]), 80, "deep/a.png")
    assert cell.image.shape == cell.targets.shape == (60, 80, 3)
    assert cell.caption == "deep/a.png 40x30" and cell.classes == {1}
    assert (cell.image == (9, 99, 199)).all() and not (cell.targets == cell.image).all()


def test_three_images_are_two_rows_with_a_blank_and_the_classes_of_all(monkeypatch):
    palette = Palette(["nut", "bolt", "wall"], [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    values = (10, 20, 30)
    cells = [
        Cell(*[np.full((20, 30, 3), v + n, np.uint8) for n in (0, 1)], {i}, f"{i}.jpg")
        for i, v in enumerate(values)
    ]
    said = []
    monkeypatch.setattr(
        samples, "image_grid", lambda *a, **k: said.append(k) or image_grid(*a, **k)
    )
    grid = pair_grid(cells, ("image", "objects"), palette)
    # A caption under each image, none under its objects and the blanks, which are paper.
    assert said[0]["captions"] == [["0.jpg", "", "1.jpg", ""], ["2.jpg", "", "", ""]]
    places = [np.argwhere((grid == value).all(axis=2)) for value in (10, 11, 20, 21, 30, 31)]
    tops = [place[:, 0].min() for place in places]
    lefts = [place[:, 1].min() for place in places]
    blank = grid[tops[4] : tops[4] + 20, lefts[2] : lefts[3] + 30]
    assert (blank.min(), blank.max()) == (248, 250)
    assert len(set(tops[:4])) == len(set(tops[4:])) == 1 and tops[4] > tops[0] + 20
    assert lefts[:4] == sorted(set(lefts[:4])) and lefts[4:] == lefts[:2]
    assert all((grid == color).all(axis=2).sum() > 100 for color in palette.colors)
    # One image alone has no empty place beside it.
    assert pair_grid(cells[:1], ("image", "objects"), palette).shape[1] < grid.shape[1] - 60
