"""Masks whose values or colours tell instances apart."""

import numpy as np
import pytest
from converted_sets import save_image, save_mask

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
