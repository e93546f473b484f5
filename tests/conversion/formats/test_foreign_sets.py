"""Sets that other programs have written (`tests/foreign_sets/write_sets.py`) show the scene."""

import shutil
from pathlib import Path

import foreign_scene
import numpy as np
import pytest

from detr_d2.conversion.formats.cityscapes import rasterize_labels
from detr_d2.conversion.rasterize import Rules
from detr_d2.data.image_io import read_values

SETS = Path(__file__).resolve().parents[2] / "foreign_sets"
SCENES = [
    (
        "cvat",
        {"annotations": str(SETS / "cvat/train.xml"), "images": str(SETS / "cvat/images")},
        ".jpg",
    ),
    ("pascal-voc", {"folder": str(SETS / "pascal_voc")}, ".jpg"),
    ("pascal-voc", {"folder": str(SETS / "pascal_voc"), "part": "train"}, ".jpg"),
    ("supervisely", {"folder": str(SETS / "supervisely")}, ".png"),
    (
        "label-studio",
        {
            "annotations": str(SETS / "label_studio/export.json"),
            "images": str(SETS / "label_studio/images"),
        },
        ".png",
    ),
]


@pytest.mark.parametrize(
    ("annotation_format", "options", "suffix"), SCENES, ids=["cvat", "voc", "list", "sly", "ls"]
)
def test_the_scene_is_read_pixel_by_pixel(converted, annotation_format, options, suffix):
    result = converted(annotation_format, Rules(min_area=0), stuff=("soil",), **options)
    folder = "ds 0/" if annotation_format == "supervisely" else ""
    assert result.report.skipped == []
    assert sorted(result.images) == sorted(
        f"{folder}{name}{suffix}" for name in foreign_scene.SIZES
    )
    for name in foreign_scene.SIZES:
        expected = [(label, mask.tobytes()) for label, mask in foreign_scene.masks(name)]
        assert result.masks(f"{folder}{name}{suffix}") == sorted(expected)
    assert sorted(result.names.values()) == sorted(foreign_scene.LABELS)


STEM = "ulm/ulm_000001_000019_gtFine_"


def test_polygons_of_cityscapes_are_those_of_its_own_scripts():
    folder = SETS / "cityscapes/gtFine/train"
    numbers = rasterize_labels(str(folder / f"{STEM}polygons.json"))
    expected = read_values(folder / f"{STEM}instanceIds.png")
    np.testing.assert_array_equal(numbers, expected)
    assert {26, 4, 23, 7, 26000, 26001, 24000, 30000} <= set(np.unique(numbers).tolist())


@pytest.mark.parametrize("without", ["polygons.json", "instanceIds.png"])
def test_cityscapes_on_disk(converted, tmp_path, without):
    shutil.copytree(SETS / "cityscapes", tmp_path / "source")
    (tmp_path / f"source/gtFine/train/{STEM}{without}").unlink()
    result = converted("cityscapes", folder=str(tmp_path / "source"))
    (name,) = result.images
    assert name.endswith("_leftImg8bit.png")
    found = {
        (result.names[s["category_id"]], s["iscrowd"]): result.ids(name) == s["id"]
        for s in result.segments(name)
        if result.names[s["category_id"]] != "car" or s["iscrowd"]
    }
    assert set(found) == {("sky", 0), ("road", 0), ("car", 1), ("person", 0)}
    cars = [s for s in result.segments(name) if result.names[s["category_id"]] == "car"]
    assert len(cars) == 3
    # A group of cars is a crowd, what is static lies over it and is void.
    numbers = read_values(SETS / f"cityscapes/gtFine/train/{STEM}instanceIds.png")
    np.testing.assert_array_equal(found["car", 1], numbers == 26)
    np.testing.assert_array_equal(result.labels(name) == "", np.isin(numbers, [0, 4, 30000]))
    categories = {c["name"]: (c["id"], c["isthing"]) for c in result.content["categories"]}
    assert len(categories) == 19
    assert (categories["road"], categories["bicycle"]) == ((7, 0), (33, 1))
