"""Records in the convention of Detectron2's `coco_2017_*_panoptic_with_sem_seg`, as Mask2Former's.

Contiguous: pipe 0, brick 1, sky 2, soil 3.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator, COCOPanopticEvaluator, SemSegEvaluator
from detectron2.structures import Boxes, Instances
from PIL import Image

from detr_d2.data.categories import CategoryTable, check_same_classes
from detr_d2.engine import registered_categories
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.pseudo_labels.classes import model_classes
from detr_d2.register import register_dataset

IDS = {"pipe": 2, "brick": 9, "sky": 5, "soil": 40}


@pytest.fixture
def name(tiny_set, register, tmp_path):
    return register(**tiny_set.paths(), records="with_sem_seg", cache=tmp_path / "cache")


def test_records_have_both_kinds_of_ground_truth_in_one_count_of_classes(name):
    first, second, empty = DatasetCatalog.get(name)
    found = [(s["category_id"], s["isthing"], s["iscrowd"]) for s in first["segments_info"]]
    assert found == [(2, False, 0), (0, True, 1), (1, True, 0), (3, False, 0)]
    labels = np.asarray(Image.open(first["sem_seg_file_name"]))
    # Sky, soil, a brick, void; the crowd of pipes is pipe.
    places = [(0, 0), (15, 0), (9, 5), (0, 23), (10, 15)]
    assert [labels[place] for place in places] == [2, 3, 1, 255, 0]
    assert np.asarray(Image.open(second["sem_seg_file_name"]))[5, 6] == 0
    assert np.asarray(Image.open(empty["sem_seg_file_name"])).min() == 255
    # Mask2Former's panoptic mapper rejects records with annotations.
    assert not any("annotations" in record for record in (first, second, empty))


def test_metadata_list_things_alone_and_everything(name, tiny_set):
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["pipe", "brick"]
    assert metadata.stuff_classes == ["pipe", "brick", "sky", "soil"]
    assert metadata.thing_dataset_id_to_contiguous_id == {2: 0, 9: 1}
    assert metadata.stuff_dataset_id_to_contiguous_id == {2: 0, 9: 1, 5: 2, 40: 3}
    assert (metadata.ignore_label, metadata.label_divisor) == (255, 1000)
    assert metadata.panoptic_json == str(tiny_set.json_path)


def ground_truth_as_output(record, score=1.0):
    """What a perfect model gives; crowds and void it cannot know."""
    ids = read_ids(record["pan_seg_file_name"])
    segments = [s for s in record["segments_info"] if not s["iscrowd"]]
    panoptic, sem_seg = np.zeros(ids.shape, np.int32), np.zeros((4, *ids.shape), np.float32)
    masks, classes = [], []
    for number, segment in enumerate(segments, start=1):
        mask = ids == segment["id"]
        panoptic[mask] = number
        sem_seg[segment["category_id"], mask] = 1
        if segment["isthing"]:
            masks.append(mask)
            classes.append(segment["category_id"])
    for segment in record["segments_info"]:
        sem_seg[segment["category_id"], ids == segment["id"]] = 1
    instances = Instances(ids.shape)
    instances.pred_masks = torch.tensor(np.array(masks).reshape(-1, *ids.shape))
    instances.pred_boxes = Boxes(torch.zeros(len(masks), 4))
    instances.scores = torch.full((len(masks),), score)
    instances.pred_classes = torch.tensor(classes, dtype=torch.int64)
    info = [
        {"id": number, "category_id": s["category_id"], "isthing": s["isthing"]}
        for number, s in enumerate(segments, start=1)
    ]
    return {
        "panoptic_seg": (torch.from_numpy(panoptic), info),
        "sem_seg": torch.from_numpy(sem_seg),
        "instances": instances,
    }


def load_mask(path, dtype):
    return np.array(Image.open(path)).astype(dtype)


def evaluate(evaluator, name):
    evaluator.reset()
    for record in DatasetCatalog.get(name):
        evaluator.process([record], [ground_truth_as_output(record)])
    return evaluator.evaluate()


def test_detectron2s_evaluators_give_the_ground_truth_100(name, tmp_path):
    """The three that Mask2Former takes for `coco_panoptic_seg`."""
    pytest.importorskip("panopticapi")
    folder = str(tmp_path / "evaluation")
    panoptic = evaluate(COCOPanopticEvaluator(name, folder), name)["panoptic_seg"]
    assert (panoptic["PQ"], panoptic["PQ_th"], panoptic["PQ_st"]) == (100, 100, 100)
    boxes = COCOEvaluator(name, tasks=("segm",), output_dir=folder, use_fast_impl=False)
    figures = evaluate(boxes, name)["segm"]
    assert figures["AP"] == pytest.approx(100)
    assert {key for key in figures if key.startswith("AP-")} == {"AP-pipe", "AP-brick"}
    # That of sal-detectron2 would read masks with a call that numpy 2 rejects.
    semantic = SemSegEvaluator(name, output_dir=folder, sem_seg_loading_fn=load_mask)
    figures = evaluate(semantic, name)["sem_seg"]
    assert figures["mIoU"] == 100
    assert {key for key in figures if key.startswith("IoU-")} == {f"IoU-{n}" for n in IDS}


def test_our_own_tools_read_such_a_set_as_the_standard_one(name, tiny_set):
    standard = f"{name}_standard"
    register_dataset(standard, **tiny_set.paths())
    try:
        check_same_classes([standard, name])
        entries = registered_categories([name])
        assert entries == registered_categories([standard])
        own = CategoryTable(tiny_set.content["categories"])
        assert CategoryTable(entries).metadata() == own.metadata()
        # A thing is listed once, as a thing.
        assert model_classes([name]) == model_classes([standard])
        found = [(c.index, c.isthing, c.name) for c in model_classes([name])]
        assert found == [
            (0, True, "pipe"),
            (1, True, "brick"),
            (2, False, "sky"),
            (3, False, "soil"),
        ]
    finally:
        DatasetCatalog.remove(standard)
        MetadataCatalog.remove(standard)


@pytest.fixture
def coco(request):
    """An entry of the catalog with some metadata, removed afterwards."""
    made = f"test_{request.node.name}"
    yield lambda **metadata: MetadataCatalog.get(made).set(**metadata).name
    MetadataCatalog.remove(made)


def test_sets_of_others_give_their_categories_whichever_convention_they_follow(coco):
    """As Mask2Former registers COCO, without a colour for the last class."""
    metadata = {
        "thing_classes": ["person"],
        "thing_colors": [[220, 20, 60]],
        "thing_dataset_id_to_contiguous_id": {1: 0},
        "stuff_classes": ["person", "sky"],
        "stuff_dataset_id_to_contiguous_id": {1: 0, 187: 1},
    }
    entries = registered_categories([coco(**metadata)])
    found = [(e["id"], e["name"], e["isthing"]) for e in entries]
    assert found == [(1, "person", 1), (187, "sky", 0)]
    assert all(len(e["color"]) == 3 for e in entries)


@pytest.mark.parametrize(
    ("builtin", "count", "last"),
    [
        ("coco_2017_val_panoptic", 133, "rug-merged"),
        # Its things are what boxes are learnt of; its stuff is counted apart.
        ("coco_2017_val_panoptic_separated", 80, "toothbrush"),
        ("coco_2017_val", 80, "toothbrush"),
    ],
)
def test_detectron2s_own_sets(builtin, count, last):
    entries = registered_categories([builtin])
    assert len(entries) == count
    assert entries[-1]["name"] == last or last in {e["name"] for e in entries}


def test_folder_of_the_cache_is_shared_by_all_kinds(tiny_set, name, tmp_path):
    other = f"{name}_separated"
    register_dataset(other, **tiny_set.paths(), records="separated", cache=tmp_path / "cache")
    try:
        (folder,) = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
        assert Path(MetadataCatalog.get(name).json_file).parent == folder
        assert Path(MetadataCatalog.get(other).json_file).parent == folder
    finally:
        DatasetCatalog.remove(other)
        MetadataCatalog.remove(other)
