import json
import logging
from importlib.util import find_spec

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from model_outputs import worsen
from pycocotools.coco import COCO

from detr_d2.evaluation import instances
from detr_d2.evaluation.instances import instances_from_panoptic


def test_things_become_instances_with_their_own_ids_crowds_and_visible_parts(tiny_set, register):
    content = instances_from_panoptic(register(**tiny_set.paths()))

    assert [(c["id"], c["name"]) for c in content["categories"]] == [(2, "pipe"), (9, "brick")]
    assert [image["id"] for image in content["images"]] == [7, 8, 9]
    assert (content["images"][0]["height"], content["images"][0]["width"]) == (16, 24)
    crowd, brick, pipe = content["annotations"]
    assert (crowd["image_id"], crowd["category_id"], crowd["iscrowd"]) == (7, 2, 1)
    assert (brick["image_id"], brick["category_id"], brick["iscrowd"]) == (7, 9, 0)
    assert (pipe["image_id"], pipe["category_id"], pipe["iscrowd"]) == (8, 2, 0)
    # Rows 8..12, columns 4..9 of the first map.
    assert (brick["bbox"], brick["area"]) == ([4, 8, 6, 5], 30)
    mask = mask_util.decode(brick["segmentation"])
    expected = np.zeros((16, 24))
    expected[8:13, 4:10] = 1
    assert (mask == expected).all()
    assert [a["id"] for a in content["annotations"]] == [1, 2, 3]
    json.dumps(content, allow_nan=False)


def test_a_segment_that_the_png_does_not_show_is_skipped(tiny_set, register):
    tiny_set.content["annotations"][0]["segments_info"].append(
        {"id": 999, "category_id": 9, "iscrowd": 0, "area": 5, "bbox": [0, 0, 1, 5]}
    )
    tiny_set.write()
    content = instances_from_panoptic(register(**tiny_set.paths()))
    assert len(content["annotations"]) == 3


def test_the_ground_truth_of_an_earlier_set_is_replaced(tiny_set, register, evaluate, tmp_path):
    name = register(**tiny_set.paths())
    (tmp_path / "inference").mkdir()
    earlier = tmp_path / "inference/instances_ground_truth.json"
    content = instances_from_panoptic(name)
    earlier.write_text(json.dumps({**content, "annotations": content["annotations"][:2]}))
    evaluate(name, ["box"])
    assert json.loads(earlier.read_text()) == content


def test_one_process_derives_the_ground_truth(tiny_set, register, monkeypatch, tmp_path):
    name = register(**tiny_set.paths())
    monkeypatch.setattr(instances, "InstanceEvaluator", lambda *_: None)
    path = tmp_path / "instances_ground_truth.json"
    waited = []
    monkeypatch.setattr(comm, "synchronize", lambda: waited.append(path.exists()))
    for rank, is_there in ((1, False), (0, True)):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        instances.build_instance_evaluator(name, ["bbox"], str(tmp_path))
        assert path.exists() == is_there
    # The others wait until it is there.
    assert waited == [False, True]


def test_nothing_found_scores_0_and_not_nan(tiny_set, register, evaluate):
    def nothing(record, output):
        return {"instances": output["instances"][:0]}

    results = evaluate(register(**tiny_set.paths()), ["box", "mask"], nothing)
    for task in ("bbox", "segm"):
        assert [results[task][name] for name in ("AP", "AP50", "AP75")] == [0, 0, 0]


@pytest.mark.parametrize("crowds", [0, 1])
def test_where_all_things_are_crowds_there_is_nothing_to_find(tiny_set, register, evaluate, crowds):
    for annotation in tiny_set.content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["iscrowd"] = crowds
    tiny_set.write()

    def nothing(record, output):
        return {"instances": output["instances"][:0]}

    found = evaluate(register(**tiny_set.paths()), ["box"], nothing)["bbox"]["AP"]
    assert np.isnan(found) if crowds else found == 0


def test_a_box_off_by_half_and_a_class_mistaken_lower_the_score(tiny_set, register, evaluate):
    def worsen(record, output):
        instances = output["instances"]
        if record["image_id"] == 7:  # the brick
            instances.pred_boxes.tensor[:, 2] += 6
        return {"instances": instances}

    results = evaluate(register(**tiny_set.paths()), ["box"], worsen)
    assert results["bbox"]["AP-pipe"] == pytest.approx(100)
    # IoU 0.5: right at the first of the ten thresholds only.
    assert results["bbox"]["AP-brick"] == pytest.approx(10)


def test_boxes_only_when_only_boxes_are_asked_for(tiny_set, register, evaluate):
    def without_masks(record, output):
        output["instances"].remove("pred_masks")
        return output

    name = register(**tiny_set.paths())
    assert evaluate(name, ["box"], without_masks).keys() == {"bbox"}
    with pytest.raises(ValueError, match="'mask', but the model's instances have no masks"):
        evaluate(name, ["mask"], without_masks)


def test_the_sets_own_instances_json_is_used(tiny_set, register, evaluate, tmp_path):
    path = tmp_path / "instances.json"
    name = register(**tiny_set.paths(), instances_json=path)
    content = instances_from_panoptic(name)
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 9]
    path.write_text(json.dumps(content))
    results = evaluate(name, ["box"])
    # Without the pipe there, its class is not measured.
    assert results["bbox"]["AP-brick"] == pytest.approx(100)
    assert np.isnan(results["bbox"]["AP-pipe"])
    assert MetadataCatalog.get(name).json_file == str(path)


def test_figures_of_classes_have_their_names_whatever_the_order_of_the_set(
    tiny_set, register, evaluate
):
    """Registered by hand: brick, of the larger id, comes first. No pipe is found."""
    name = register(**tiny_set.paths())
    records, known = DatasetCatalog.get(name), MetadataCatalog.get(name).as_dict()
    for catalog in (DatasetCatalog, MetadataCatalog):
        catalog.remove(name)
    for record in records:
        for segment in record["segments_info"]:
            segment["category_id"] = {0: 1, 1: 0}.get(segment["category_id"], 3)
    names = ["brick", "pipe", "sky", "soil"]
    known |= {"thing_dataset_id_to_contiguous_id": {9: 0, 2: 1}}
    MetadataCatalog.get(name).set(**known | {"thing_classes": names, "stuff_classes": names})
    DatasetCatalog.register(name, lambda: records)

    def without_pipe(record, output):
        found = output["instances"]
        return {"instances": found[found.pred_classes == 0]}

    figures = evaluate(name, ["box", "mask"], without_pipe)
    for task in ("bbox", "segm"):
        assert (figures[task]["AP-brick"], figures[task]["AP-pipe"]) == (pytest.approx(100), 0)


def test_a_second_evaluation_has_the_classes_of_its_set(tiny_set, register, evaluate):
    name = register(**tiny_set.paths())
    assert evaluate(name, ["box"])["bbox"]["AP-pipe"] == pytest.approx(100)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)
    categories = tiny_set.content["categories"]
    tiny_set.content["categories"] = [{**c, "name": f"{c['name']} 2"} for c in categories]
    tiny_set.write()
    figures = evaluate(register(**tiny_set.paths()), ["box"])["bbox"]
    assert {key for key in figures if "-" in key} == {"AP-pipe 2", "AP-brick 2"}


def test_an_annotation_with_the_id_0_is_no_miss(
    tiny_set, register, evaluate, tmp_path, monkeypatch
):
    # For pycocotools a match with it is none.
    monkeypatch.setattr(instances, "choose_backend", lambda: "pycocotools")
    path = tmp_path / "instances.json"
    name = register(**tiny_set.paths(), instances_json=path)
    content = instances_from_panoptic(name)
    for annotation in content["annotations"]:
        annotation["id"] -= 1
        annotation["iscrowd"] = 0
    content["annotations"] = content["annotations"][::-1]
    path.write_text(json.dumps(content))

    def with_crowd(record, output):
        if record["image_id"] == 7:
            found = Instances((16, 24))
            found.pred_boxes = Boxes(torch.tensor([[14.0, 9, 20, 15], [4, 8, 10, 13]]))
            found.scores, found.pred_classes = torch.tensor([0.5, 0.5]), torch.tensor([0, 1])
            output["instances"] = found
        return output

    assert evaluate(name, ["box"], with_crowd)["bbox"]["AP"] == pytest.approx(100)


def test_the_program_is_named_in_one_line_and_all_give_the_same(
    tiny_set, register, evaluate, monkeypatch, caplog
):
    name = register(**tiny_set.paths())
    figures = {}
    backends = ["pycocotools", *(["hotcoco"] if find_spec("hotcoco") else [])]
    for backend in backends:
        monkeypatch.setattr(instances, "choose_backend", lambda chosen=backend: chosen)
        caplog.clear()
        with caplog.at_level(logging.INFO, "detr_d2"):
            figures[backend] = evaluate(name, ["box", "mask"], worsen)
        lines = [r.message for r in caplog.records if r.name == "detr_d2.evaluation.instances"]
        assert lines == [f"{backend} counts the average precision of 2 instances"]
    assert 0 < figures["pycocotools"]["segm"]["AP"] < 100
    assert set(map(str, figures.values())) == {str(figures["pycocotools"])}


def test_results_are_written_with_the_sets_own_categories(tiny_set, register, evaluate, tmp_path):
    evaluate(register(**tiny_set.paths()), ["mask"])
    results = tmp_path / "inference/coco_instances_results.json"
    found = COCO(str(tmp_path / "inference/instances_ground_truth.json")).loadRes(str(results))
    assert [a["category_id"] for a in found.anns.values()] == [9, 2]
    assert [a["area"] for a in found.anns.values()] == [30, 15]


def test_a_class_that_the_set_lacks_is_named(tiny_set, register, evaluate):
    def other(record, output):
        output["instances"].pred_classes += 40
        return output

    with pytest.raises(ValueError, match=r"image 7: .* thing class 41, but the set has \[0, 1\]"):
        evaluate(register(**tiny_set.paths()), ["box"], other)


def test_a_json_without_annotations_is_named(tiny_set, register, evaluate, tmp_path, caplog):
    path = tmp_path / "instances.json"
    name = register(**tiny_set.paths(), instances_json=path)
    content = instances_from_panoptic(name)
    del content["annotations"]
    path.write_text(json.dumps(content))
    assert evaluate(name, ["box"]) == {}
    assert "instances.json lists no annotations" in caplog.text
