"""Masks whose values or colours tell instances apart."""

import numpy as np
import pytest
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules

SIZE = (20, 30)


def test_instance_ids_of_16_bits_with_classes_from_a_semantic_mask(tmp_path, converted):
    save_image(tmp_path / "images/x.png", SIZE)
    semantic = np.full(SIZE, 1, np.uint8)
    semantic[10:, :] = 2
    instances = np.zeros(SIZE, np.uint16)
    instances[10:15, 0:5], instances[14:20, 20:25] = 40000, 7
    semantic[14, 20:22] = 1  # most of instance 7 is of class 2 nevertheless
    save_mask(tmp_path / "semantic/x.png", semantic)
    save_mask(tmp_path / "instances/x.png", instances)
    result = converted(
        "instance-ids",
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "instances"),
        semantic=str(tmp_path / "semantic"),
        values="1=wall,2=brick",
        stuff=("wall",),
    )
    found = sorted((result.names[s["category_id"]], s["area"]) for s in result.segments("x.png"))
    # What is brick without being an instance is void.
    assert found == [("brick", 25), ("brick", 30), ("wall", 300)]


def test_cvats_segmentation_masks_in_colours(tmp_path, converted):
    """Classes and objects as colours, black = nothing; a class whose colour is grey."""
    semantic, objects = np.zeros((*SIZE, 3), np.uint8), np.zeros((*SIZE, 3), np.uint8)
    semantic[2:6, 2:9], objects[2:6, 2:5], objects[2:6, 5:9] = (
        (250, 50, 83),
        (128, 0, 0),
        (0, 128, 0),
    )
    semantic[10:12, 3:5] = objects[10:12, 3:5] = (128, 128, 128)
    grey = np.zeros((*SIZE, 3), np.uint8)
    grey[0:2, 0:2] = (128, 128, 128)
    for name, pair in {"a": (semantic, objects), "b": (grey, grey)}.items():
        save_image(tmp_path / f"images/{name}.jpg", SIZE)
        save_mask(tmp_path / f"SegmentationClass/{name}.png", pair[0])
        save_mask(tmp_path / f"SegmentationObject/{name}.png", pair[1])
    result = converted(
        "instance-ids",
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "SegmentationObject"),
        semantic=str(tmp_path / "SegmentationClass"),
        values="#fa3253=nut, #808080=leaf",
    )
    found = {
        name: sorted((result.names[s["category_id"]], s["area"]) for s in result.segments(name))
        for name in ("a.jpg", "b.jpg")
    }
    assert found == {"a.jpg": [("leaf", 4), ("nut", 12), ("nut", 16)], "b.jpg": [("leaf", 4)]}


def divided(tmp_path, numbers: np.ndarray) -> dict:
    """The options for one image of numbers = class value x 1000 + instance."""
    save_image(tmp_path / "images/x.png", SIZE)
    save_mask(tmp_path / "instances/x.png", numbers)
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "instances")}
    return {**folders, "divisor": 1000}


def test_things_below_the_divisor_are_crowds_and_stuff_is_not(tmp_path, converted):
    """As in Cityscapes: 26001 is a car, 26 a group of cars, 7 a road."""
    numbers = np.full(SIZE, 7, np.uint16)
    numbers[0:2, 0:3], numbers[5:7, 0:4], numbers[10:12, 0:5] = 26001, 26, 26002
    options = divided(tmp_path, numbers)
    result = converted("instance-ids", values="7=road,26=car", stuff=("road",), **options)
    found = sorted(
        (result.names[s["category_id"]], s["area"], s["iscrowd"]) for s in result.segments("x.png")
    )
    assert found == [("car", 6, 0), ("car", 8, 1), ("car", 10, 0), ("road", 600 - 24, 0)]


def test_a_class_of_value_0_is_a_class(tmp_path, converted):
    numbers = np.zeros(SIZE, np.uint16)
    numbers[0:2, 0:3], numbers[5:7, 0:4] = 1001, 1002
    options = divided(tmp_path, numbers)
    result = converted("instance-ids", values="0=road,1=car", stuff=("road",), **options)
    found = sorted((result.names[s["category_id"]], s["area"]) for s in result.segments("x.png"))
    assert found == [("car", 6), ("car", 8), ("road", 600 - 14)]
    # In a semantic mask too.
    save_mask(tmp_path / "semantic/x.png", np.uint8(numbers > 0))
    del options["divisor"]
    options["semantic"] = str(tmp_path / "semantic")
    again = converted("instance-ids", values="0=road,1=car", stuff=("road",), **options)
    assert again.masks("x.png") == result.masks("x.png")


def test_a_value_with_two_meanings_is_rejected(tmp_path, converted):
    options = divided(tmp_path, np.zeros(SIZE, np.uint16))
    with pytest.raises(ValueError, match=r"values \[0\] are both a class and background"):
        converted("instance-ids", values="0=road", background=(0,), **options)
    with pytest.raises(ValueError, match=r"values \[9\] are both background and void"):
        converted("instance-ids", values="1=road", background=(9,), void=(9,), **options)
    with pytest.raises(ValueError, match=r"values \[1\] are both a class and void"):
        converted("instance-ids", values="1=road", void=(1,), **options)


def numbered(tmp_path, numbers: np.ndarray, *names: str) -> dict:
    """The same instance mask for several images."""
    for name in names or ("x",):
        save_image(tmp_path / f"images/{name}.png", SIZE)
        save_mask(tmp_path / f"instances/{name}.png", numbers)
    return {"images": str(tmp_path / "images"), "masks": str(tmp_path / "instances")}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label": "nut", "divisor": 1000},
        {"label": "nut", "semantic": "."},
        {"divisor": 1000, "semantic": "."},
    ],
)
def test_the_class_comes_from_one_place(tmp_path, options):
    with pytest.raises(ValueError, match=r"give one of label \(class\), divisor, semantic"):
        open_format("instance-ids", **numbered(tmp_path, np.zeros(SIZE, np.uint8)), **options)


@pytest.mark.parametrize("options", [{"divisor": 1000}, {"semantic": "."}])
def test_classes_are_needed(tmp_path, options):
    with pytest.raises(ValueError, match="classes with pixel values are needed, VALUE=NAME"):
        open_format("instance-ids", **numbered(tmp_path, np.zeros(SIZE, np.uint8)), **options)


def test_instances_of_one_class(tmp_path, converted):
    """0 is none, and 255 is declared as void; no instance is a crowd."""
    numbers = np.zeros(SIZE, np.uint8)
    numbers[2:4, 2:5], numbers[6:8, 2:6], numbers[10:] = 1, 7, 255
    options = numbered(tmp_path, numbers)
    save_image(tmp_path / "images/y.png", SIZE)
    rules = Rules(background_class="table")
    result = converted(
        "instance-ids", rules, **options, label="nut", void=(255,), keep_unlabelled=True
    )
    found = sorted(
        (result.names[s["category_id"]], s["area"], s["iscrowd"]) for s in result.segments("x.png")
    )
    assert found == [("nut", 6, 0), ("nut", 8, 0), ("table", 300 - 14, 0)]
    assert {c["name"]: c["isthing"] for c in result.content["categories"]} == {"nut": 1, "table": 0}
    assert [s["area"] for s in result.segments("y.png")] == [600]


def test_images_without_semantic_mask_are_told(tmp_path):
    options = numbered(tmp_path, np.ones(SIZE, np.uint8), "c", "a", "b")
    save_image(tmp_path / "images/d.png", SIZE)
    save_mask(tmp_path / "semantic/b.png", np.full(SIZE, 3, np.uint8))
    opened = open_format(
        "instance-ids", **options, semantic=str(tmp_path / "semantic"), values="3=nut"
    )
    assert [(item.name, item.reason) for item in opened.skipped] == [
        (str(tmp_path / "images/a.png"), "no semantic mask"),
        (str(tmp_path / "images/c.png"), "no semantic mask"),
        (str(tmp_path / "images/d.png"), "no mask file belongs to it"),
    ]
    (sample,) = opened.samples
    files = tuple(str(tmp_path / folder / "b.png") for folder in ("instances", "semantic"))
    assert sample.inputs == files


def test_an_instance_is_of_the_class_of_most_of_its_pixels(tmp_path, converted):
    """Pixels without class or of void do not count; where there are no others, it is told."""
    numbers, semantic = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    numbers[3, 0:20] = 4
    semantic[3, 0:3], semantic[3, 3:7], semantic[3, 7:12] = 1, 2, 9
    options = numbered(tmp_path, numbers)
    save_mask(tmp_path / "semantic/x.png", semantic)
    options |= {"semantic": str(tmp_path / "semantic"), "values": "1=nut,2=pit,3=leaf"}
    result = converted("instance-ids", **options, void=(9,))
    assert [(result.names[s["category_id"]], s["area"]) for s in result.segments("x.png")] == [
        ("pit", 20)
    ]
    for value in (0, 9):
        save_mask(tmp_path / "semantic/x.png", np.full(SIZE, value, np.uint8))
        with pytest.raises(ValueError, match=r"instances/x\.png: instance 4 lies where the seman"):
            converted("instance-ids", **options, void=(9,))


def test_numbers_that_are_divided(tmp_path, converted):
    """1000 is the first of class 1, 999 a whole class; 3 is background and 4 void, divided too."""
    numbers = np.full(SIZE, 3, np.uint16)
    numbers[0:2], numbers[2:5], numbers[5], numbers[6], numbers[7] = 1000, 999, 4, 4000, 3001
    options = divided(tmp_path, numbers)
    rules = Rules(background_class="table")
    result = converted(
        "instance-ids", rules, values="1=nut,999=pit", background=(3,), void=(4,), **options
    )
    found = sorted(
        (result.names[s["category_id"]], s["area"], s["iscrowd"]) for s in result.segments("x.png")
    )
    assert found == [("nut", 60, 0), ("pit", 90, 1), ("table", 13 * 30, 0)]
    save_mask(tmp_path / "instances/x.png", np.full(SIZE, 7002, np.uint16))
    message = r"instances/x\.png: number 7002 is of value 7, which is no .*: \['1', '999'\]"
    with pytest.raises(ValueError, match=message):
        converted("instance-ids", values="1=nut,999=pit", **options)
