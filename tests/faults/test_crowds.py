"""A crowd stays one from format to format, and is never an object or a fault."""

import json

import numpy as np
from converted_sets import Result, save_image

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.pseudo_labels.label_map import LabelMap
from detr_d2.validation.check import Checker, SetFiles
from detr_d2.validation.repair import repair_sets

# A crowd in 20 of 12 x 16 pixels, and another nut in 16.
CROWD = {"size": [12, 16], "counts": [0, 4, 8, 4, 8, 4, 8, 4, 8, 4, 140]}
NUT = [[8, 4, 12, 4, 12, 8, 8, 8]]


def test_the_crowd_of_a_coco_file_is_converted_as_one(tmp_path):
    save_image(tmp_path / "images/a.jpg", (12, 16))
    image = {"id": 0, "file_name": "a.jpg", "height": 12, "width": 16}
    annotations = [
        {"id": 1, "image_id": 0, "category_id": 3, "iscrowd": 1, "segmentation": CROWD},
        {"id": 2, "image_id": 0, "category_id": 3, "iscrowd": 0, "segmentation": NUT},
        {"id": 3, "image_id": 0, "category_id": 3, "segmentation": [[0, 8, 2, 8, 2, 10, 0, 10]]},
    ]
    content = {"images": [image], "annotations": annotations}
    content["categories"] = [{"id": 3, "name": "nut"}]
    (tmp_path / "coco.json").write_text(json.dumps(content))
    source = open_format(
        "coco-json", annotations=str(tmp_path / "coco.json"), images=str(tmp_path / "images")
    )
    result = Result(tmp_path / "out", convert_set(source, tmp_path / "out"))
    found = sorted((s["iscrowd"], s["area"]) for s in result.segments("a.jpg"))
    assert found == [(0, 4), (0, 16), (1, 20)]


def test_a_custom_crowd_is_labelled_as_one():
    ids = np.array([[4, 4, 9], [0, 0, 9]])
    segments = [{"id": 4, "category_id": 1, "iscrowd": 1}, {"id": 9, "category_id": 1}]
    labels = LabelMap(ids, segments)
    labels.add_model(np.array([[0, 0, 0], [2, 2, 0]]), [part(2, 5)], things=[5])
    assert [(s["id"], s["iscrowd"]) for s in labels.finish()] == [(4, 1), (9, 0), (1, 0)]


def part(number, category):
    return {"id": number, "category_id": category, "name": "x", "score": 0.9}


def test_crowds_of_stuff_are_no_second_segment_and_repair_keeps_those_of_things(tiny_set, tmp_path):
    """Image "a" has soil and a crowd of pipes; its sky becomes a crowd of soil."""
    segments = tiny_set.content["annotations"][0]["segments_info"]
    sky, pipes = segments[0], segments[1]
    assert pipes["iscrowd"] == 1
    sky |= {"category_id": 40, "iscrowd": 1}
    tiny_set.write()
    paths = {key: str(value) for key, value in tiny_set.paths().items()}
    files = SetFiles(paths["panoptic_json"], paths["image_root"], paths["panoptic_root"])
    assert "stuff in several segments" not in {finding.kind for finding in Checker(files).run()}
    repair_sets([files], tmp_path / "repaired")
    content = json.loads((tmp_path / "repaired/panoptic.json").read_text())
    (annotation,) = [a for a in content["annotations"] if a["file_name"] == "a.png"]
    found = sorted((s["category_id"], s["iscrowd"]) for s in annotation["segments_info"])
    # Crowds of stuff are united with it.
    assert found == [(2, 1), (9, 0), (40, 0)]
