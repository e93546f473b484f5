"""Masks whose values or colours tell instances apart."""

import numpy as np
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
