"""Pascal VOC, Mapillary Vistas and ADE20K as they are on disk."""

import numpy as np
import pytest
from annotation_files import BOX, MAPILLARY, SIZE, ade_mask, mapillary_instances, only, write
from converted_sets import save_image, save_mask

from detr_d2.conversion.classes import SourceClass, choose_things
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


def test_pascal_voc_palette_border_and_boxes(tmp_path, converted):
    """The challenge's own files: palette, 255 for the border; images with boxes only are named."""
    from PIL import Image

    from detr_d2.conversion.formats.pascal_voc import color_of

    palette = [channel for index in range(256) for channel in color_of(index)]
    kinds = {"SegmentationClass": 15, "SegmentationObject": 1}
    for folder, value in kinds.items():
        values = np.where(BOX, value, 0).astype(np.uint8)
        values[3, 2:12] = 255
        png = Image.fromarray(values, "P")
        png.putpalette(palette)
        (tmp_path / folder).mkdir()
        png.save(tmp_path / folder / "a.png")
    for name in ("a", "b"):
        save_image(tmp_path / f"JPEGImages/{name}.jpg", SIZE)
        write(tmp_path / f"Annotations/{name}.xml", "<annotation/>")
    result = converted("pascal-voc", ALL, folder=str(tmp_path))
    expected = BOX.copy()
    expected[3] = False
    np.testing.assert_array_equal(only(result, "a.jpg", "person"), expected)
    assert {c["name"]: c["id"] for c in result.content["categories"]}["tvmonitor"] == 20
    (item,) = result.report.skipped
    assert item.reason.startswith("only boxes; masks are needed")


def test_mapillary_instances(tmp_path, converted):
    """Label 0 has instances too, and its first instance is number 0."""
    save_image(tmp_path / "training/images/a_1.jpg", SIZE)
    write(tmp_path / "config_v2.0.json", MAPILLARY)
    save_mask(tmp_path / "training/v2.0/instances/a_1.png", mapillary_instances())
    result = converted("mapillary", ALL, folder=str(tmp_path))
    numbers = mapillary_instances()
    birds = [("animal--bird", (numbers == n).tobytes()) for n in (0, 1)]
    assert result.masks("a_1.jpg") == sorted([*birds, ("nature--sky", (numbers == 256).tobytes())])
    assert {c["name"]: c["isthing"] for c in result.content["categories"]} == {
        "animal--bird": 1,
        "nature--sky": 0,
    }
    (tmp_path / "training/v1.2").mkdir()
    with pytest.raises(ValueError, match=r"say which version \(--version\)"):
        open_format("mapillary", folder=str(tmp_path))


@pytest.mark.parametrize("year", [2016, 2021])
def test_ade20k_full(tmp_path, converted, year):
    stem = tmp_path / "images/ADE/training/work place/ADE_train_1"
    save_image(stem.with_suffix(".jpg"), SIZE)
    save_mask(stem.with_name("ADE_train_1_seg.png"), ade_mask())
    named = [("wall", 2978), ("wall", 2978), ("door, gate", 1797)]
    if year == 2016:
        lines = [f'{i:03d} # 0 # 0 # {name} # {name} # ""' for i, (name, _) in enumerate(named, 1)]
        write(
            stem.with_name("ADE_train_1_atr.txt"),
            "\n".join([*lines, '001 # 1 # 0 # knob # k # ""']),
        )
    else:
        objects = [
            {"id": i, "name": name, "name_ndx": n, "parts": {"part_level": 0}}
            for i, (name, n) in enumerate(named)
        ]
        write(stem.with_suffix(".json"), {"annotation": {"object": objects}})
    result = converted("ade20k", ALL, folder=str(tmp_path), stuff=("wall",))
    name = "images/ADE/training/work place/ADE_train_1.jpg"
    wall = (ade_mask()[..., 0] == 110).tobytes()
    door = (ade_mask()[..., 2] == 255).tobytes()
    assert result.masks(name) == [("door, gate", door), ("wall", wall)]


def test_a_class_may_be_named_by_one_of_its_synonyms():
    """Names of ADE20K hold commas, which divide names on a command line."""
    names = ["wall", "door, gate", "gate, portal", "wall, screen"]
    classes = [SourceClass(name, name, True) for name in names]
    chosen = choose_things(classes, stuff=("wall", "portal"))
    assert [c.name for c in chosen if not c.isthing] == ["wall", "gate, portal"]
    with pytest.raises(ValueError, match=r"\['gate'\] are no classes"):
        choose_things(classes, stuff=("gate",))


def test_ade20k_names_that_do_not_fit_are_rejected(tmp_path, converted):
    save_image(tmp_path / "training/a.jpg", SIZE)
    save_mask(tmp_path / "training/a_seg.png", ade_mask())
    write(tmp_path / "training/a_atr.txt", '001 # 0 # 0 # wall # wall # ""')
    with pytest.raises(ValueError, match="3 instances, but 1 objects are named"):
        converted("ade20k", folder=str(tmp_path))
    same = "\n".join(f'{i} # 0 # 0 # wall # wall # ""' for i in (1, 2, 3))
    write(tmp_path / "training/a_atr.txt", same)
    with pytest.raises(ValueError, match="class index 1797, which is not that of 'wall'"):
        converted("ade20k", folder=str(tmp_path))


def test_ade20k_scene_parsing(tmp_path, converted):
    save_image(tmp_path / "images/training/ADE_1.jpg", SIZE)
    values = np.where(BOX, 2, 0).astype(np.uint8)
    save_mask(tmp_path / "annotations/training/ADE_1.png", values)
    write(
        tmp_path / "objectInfo150.txt",
        "Idx\tRatio\tStuff\tName\n1\t0.1\t1\twall\n2\t0.1\t0\tcar \n",
    )
    result = converted("ade20k", ALL, folder=str(tmp_path), part="training")
    np.testing.assert_array_equal(only(result, "ADE_1.jpg", "car"), BOX)
    assert {c["id"]: (c["name"], c["isthing"]) for c in result.content["categories"]} == {
        1: ("wall", 0),
        2: ("car", 1),
    }
