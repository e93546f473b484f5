"""Cityscapes: files of images and polygons."""

from pathlib import Path

import numpy as np
import pytest
from annotation_files import SIZE, write
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.cityscapes import rasterize_labels
from detr_d2.data.image_io import UnreadableError


def streets_of_cities(root, kind: str, *names: str) -> str:
    """Images of Cityscapes with polygons, by part and city."""
    for name in names:
        save_image(root / f"leftImg8bit/{name}_leftImg8bit.png", SIZE)
        content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": []}
        write(root / f"{kind}/{name}_{kind}_polygons.json", content)
    return str(root)


def test_images_of_cityscapes(tmp_path):
    folder = streets_of_cities(tmp_path, "gtCoarse", "train/ulm/a", "val/bonn/b", "test/bonn/c")
    save_image(tmp_path / "leftImg8bit/val/bonn/notes.png", SIZE)
    save_image(tmp_path / "leftImg8bit/val/bonn/d_leftImg8bit.png", SIZE)
    opened = open_format("cityscapes", folder=folder, ground_truth="gtCoarse")
    names = ["train/ulm/a_leftImg8bit.png", "val/bonn/b_leftImg8bit.png"]
    assert [sample.name for sample in opened.samples] == names
    images, truth = f"{tmp_path}/leftImg8bit", f"{tmp_path}/gtCoarse"
    assert [(item.name, item.reason) for item in opened.skipped] == [
        (f"{images}/test/bonn/c_leftImg8bit.png", "the test part has no ground truth"),
        (f"{images}/val/bonn/d_leftImg8bit.png", f"no {truth}/val/bonn/d_gtCoarse_instanceIds.png"),
        (f"{images}/val/bonn/notes.png", "its name does not end in _leftImg8bit.png"),
    ]
    # Of two files, the PNG is the ground truth.
    png = f"{truth}/train/ulm/a_gtCoarse_instanceIds.png"
    save_mask(Path(png), np.zeros(SIZE, np.uint16))
    opened = open_format("cityscapes", folder=folder, ground_truth="gtCoarse", part="train")
    assert [(s.name, s.inputs) for s in opened.samples] == [("ulm/a_leftImg8bit.png", (png,))]


SQUARE = [[2, 3], [5, 3], [5, 6], [2, 6]]


@pytest.mark.parametrize(
    ("objects", "numbers"),
    [
        ([("car", SQUARE), ("cargroup", SQUARE)], {0, 26}),
        ([("car", SQUARE), ("car", [[9, 9], [12, 9], [12, 12]])], {0, 26000, 26001}),
        ([("trailer", SQUARE), ("caravan", [[9, 9], [12, 9], [12, 12]])], {0, 30000, 29000}),
        ([("license plate", SQUARE), ("road", SQUARE)], {0, 7}),
        # A line has pixels too, a point has none.
        ([("pole", [[9, 9], [9, 15]]), ("sky", [[0, 0]])], {0, 17}),
        ([("polegroup", SQUARE)], {0, 18}),
    ],
)
def test_polygons_of_cityscapes(tmp_path, objects, numbers):
    shapes = [{"label": label, "polygon": polygon} for label, polygon in objects]
    shapes.append({"label": "sky", "polygon": SQUARE, "deleted": 1})
    content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": shapes}
    found = rasterize_labels(write(tmp_path / "x.json", content))
    assert found.shape == SIZE
    assert set(np.unique(found).tolist()) == numbers


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ({"shapes": []}, "has no objects and size of Cityscapes"),
        ({"imgWidth": 30, "objects": []}, "size .None, 30.; must be"),
        ({"imgWidth": 30, "imgHeight": 20, "objects": [5]}, "object 0: label None is none of City"),
        (
            {
                "imgWidth": 30,
                "imgHeight": 20,
                "objects": [{"label": "groupcar", "polygon": SQUARE}],
            },
            "object 0: label 'groupcar' is none of Cityscapes",
        ),
    ],
)
def test_files_that_are_no_polygons_of_cityscapes_are_named(tmp_path, content, message):
    with pytest.raises(UnreadableError, match=rf"x\.json: {message}"):
        rasterize_labels(write(tmp_path / "x.json", content))
