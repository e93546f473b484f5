"""Image and annotation of the same height and another width: every check of sizes sees it."""

import json

import numpy as np
import pytest
from converted_sets import save_image, save_mask
from random_panoptic import save_ids

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.data.image_io import UnreadableError
from detr_d2.data.mapper import DetrMapper
from detr_d2.data.segmentations import rasterize_segmentation
from detr_d2.validation.check import Checker, SetFiles

HEIGHT, WIDTH, OTHER = 12, 16, 18


def test_an_id_map_of_another_width_is_rejected_in_training(tiny_set):
    save_image(tiny_set.root / "images/a.jpg", (16, 26))
    record = {
        "file_name": str(tiny_set.root / "images/a.jpg"),
        "pan_seg_file_name": str(tiny_set.root / "panoptic/a.png"),
        "segments_info": [],
    }
    mapper = DetrMapper(is_train=True, augmentations=[], image_format="RGB")
    with pytest.raises(ValueError, match=r"a\.png is 24x16 pixels, but its image .* is 26x16"):
        mapper(record)


def test_a_run_length_code_of_another_width_is_rejected():
    code = {"segmentation": {"size": [HEIGHT, OTHER], "counts": [HEIGHT * OTHER]}}
    with pytest.raises(UnreadableError, match="RLE of 18x12 pixels, its image has 16x12"):
        rasterize_segmentation(code, HEIGHT, WIDTH, "it")


def coco_json(root):
    image = {"id": 0, "file_name": "a.jpg", "height": HEIGHT, "width": OTHER}
    shape = {"id": 5, "image_id": 0, "category_id": 9, "segmentation": [[0, 0, 4, 0, 4, 4]]}
    content = {"images": [image], "annotations": [shape], "categories": [{"id": 9, "name": "a"}]}
    (root / "coco.json").write_text(json.dumps(content))
    return "coco-json", {"annotations": str(root / "coco.json"), "images": str(root / "images")}


def labelme(root):
    shape = {"label": "x", "shape_type": "rectangle", "points": [[0, 0], [4, 4]]}
    content = {"shapes": [shape], "imagePath": "a.jpg"}
    content |= {"imageHeight": HEIGHT, "imageWidth": OTHER}
    (root / "images/a.json").write_text(json.dumps(content))
    return "labelme", {"folder": str(root / "images")}


def semantic_png(root):
    save_mask(root / "masks/a.png", np.ones((HEIGHT, OTHER), np.uint8))
    folders = {"images": str(root / "images"), "masks": str(root / "masks")}
    return "semantic-png", {**folders, "values": "1=box"}


@pytest.mark.parametrize("write", [coco_json, labelme, semantic_png])
def test_annotations_of_another_width_are_not_converted(tmp_path, write):
    save_image(tmp_path / "images/a.jpg", (HEIGHT, WIDTH))
    name, options = write(tmp_path)
    with pytest.raises(ValueError, match=r"18x12 pixels, but .* 16x12; .*--resize"):
        convert_set(open_format(name, **options), tmp_path / "out")
    report = convert_set(open_format(name, **options, resize=True), tmp_path / "out")
    assert report.images_out == 1


def width_in_json(tiny_set):
    tiny_set.content["images"][0]["width"] += 1


def width_of_map(tiny_set):
    save_ids(tiny_set.root / "panoptic/b.png", np.full((20, 15), 65536))


@pytest.mark.parametrize(("harm", "count"), [(width_in_json, 2), (width_of_map, 1)])
def test_the_check_of_a_set_finds_another_width(tiny_set, harm, count):
    """The JSON disagrees with the image and with its map; the map with the JSON alone."""
    harm(tiny_set)
    tiny_set.write()
    paths = {key: str(value) for key, value in tiny_set.paths().items()}
    files = SetFiles(paths["panoptic_json"], paths["image_root"], paths["panoptic_root"])
    found = [finding.kind for finding in Checker(files).run() if finding.severity == "error"]
    assert found.count("wrong size") == count
