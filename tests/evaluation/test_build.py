import logging
import re

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from model_outputs import output_of_ground_truth
from random_panoptic import save_ids

from detr_d2.config import add_detr_config
from detr_d2.evaluation import build_evaluators, flat_results
from detr_d2.evaluation.panoptic import PanopticEvaluator

ALL = ["panoptic", "box", "mask", "semantic"]
MAIN = {"PQ", "SQ", "RQ", "PQ_th", "PQ_st", "box_AP", "mask_AP", "mIoU"}


def keep_categories(tiny_set, isthing):
    """Cut the set down to its things or its stuff; the rest of the pixels become void."""
    content = tiny_set.content
    kept = {c["id"] for c in content["categories"] if c["isthing"] == isthing}
    content["categories"] = [c for c in content["categories"] if c["id"] in kept]
    for annotation in content["annotations"]:
        segments = [s for s in annotation["segments_info"] if s["category_id"] in kept]
        dropped = {s["id"] for s in annotation["segments_info"]} - {s["id"] for s in segments}
        annotation["segments_info"] = segments
        path = tiny_set.root / "panoptic" / annotation["file_name"]
        ids = tiny_set.id_maps[annotation["file_name"].removesuffix(".png")]
        for segment_id in dropped:
            ids[ids == segment_id] = 0
        save_ids(path, ids)
    tiny_set.write()


def test_ground_truth_scores_100_everywhere(tiny_set, register, evaluate):
    flat = flat_results(evaluate(register(**tiny_set.paths()), ALL))
    assert flat == pytest.approx(dict.fromkeys(MAIN, 100.0))


def test_a_set_of_things_only(tiny_set, register, evaluate):
    keep_categories(tiny_set, isthing=1)
    flat = flat_results(evaluate(register(**tiny_set.paths()), ALL))
    assert flat["PQ_st"] is None
    assert flat == pytest.approx({**dict.fromkeys(MAIN, 100.0), "PQ_st": None})


def test_a_set_of_stuff_only(tiny_set, register, evaluate, caplog):
    keep_categories(tiny_set, isthing=0)
    with caplog.at_level(logging.WARNING):
        flat = flat_results(evaluate(register(**tiny_set.paths()), ALL))
    assert "has no things" in caplog.text
    nothing = {"PQ_th": None, "box_AP": None, "mask_AP": None}
    assert flat == pytest.approx({**dict.fromkeys(MAIN, 100.0), **nothing})


def test_a_set_without_a_single_segment_has_no_figures(tiny_set, register, evaluate):
    for annotation in tiny_set.content["annotations"]:
        annotation["segments_info"] = []
        path = tiny_set.root / "panoptic" / annotation["file_name"]
        save_ids(path, np.zeros_like(tiny_set.id_maps[path.stem]))
    tiny_set.write()
    flat = flat_results(evaluate(register(**tiny_set.paths()), ALL))
    assert flat == dict.fromkeys(MAIN)


def test_an_unknown_evaluator_names_the_choices(tiny_set, register, evaluate):
    with pytest.raises(ValueError, match=r"\['boxes'\] .* allowed: \['panoptic', 'box'"):
        evaluate(register(**tiny_set.paths()), ["panoptic", "boxes"])


@pytest.mark.parametrize("name", ["panoptic", "box", "mask", "semantic"])
def test_an_output_that_the_model_does_not_give_is_named(tiny_set, register, evaluate, name):
    def without(record, output):
        return {"other": 1}

    with pytest.raises(ValueError, match=rf"'{name}'.*\['other'\]"):
        evaluate(register(**tiny_set.paths()), [name], without)


def test_a_set_that_names_no_kind_of_evaluator_is_a_panoptic_one(register, tmp_path):
    def by_hand(name):
        MetadataCatalog.get(name).set(panoptic_json="a.json", panoptic_root="a")

    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.TEST.EVALUATORS = ["panoptic"]
    (evaluator,) = build_evaluators(cfg, register(by_hand), str(tmp_path))
    assert isinstance(evaluator, PanopticEvaluator)


def test_every_output_of_a_batch_is_looked_at(tiny_set, register, tmp_path):
    name = register(**tiny_set.paths())
    records = DatasetCatalog.get(name)[:2]
    good = [output_of_ground_truth(record, 4) for record in records]
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.TEST.EVALUATORS = ALL
    for evaluator in build_evaluators(cfg, name, str(tmp_path)):
        evaluator.reset()
        with pytest.raises(ValueError, match=r"TEST\.EVALUATORS has .*\['other'\]"):
            evaluator.process(records, [good[0], {"other": 1}])


@pytest.mark.parametrize("name", ["panoptic", "semantic"])
def test_a_batch_that_lacks_an_output_is_an_error(tiny_set, register, tmp_path, name):
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.TEST.EVALUATORS = [name]
    set_name = register(**tiny_set.paths())
    records = DatasetCatalog.get(set_name)[:2]
    (evaluator,) = build_evaluators(cfg, set_name, str(tmp_path))
    evaluator.reset()
    with pytest.raises(ValueError, match="shorter"):
        evaluator.process(records, [output_of_ground_truth(records[0], 4)])


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("cityscapes_panoptic_seg", ["panoptic", "mask", "semantic"]),
        ("cityscapes_instance", ["mask"]),
        ("cityscapes_sem_seg", ["semantic"]),
    ],
)
def test_parts_of_cityscapes_have_what_goes_with_them(kind, allowed):
    cfg = get_cfg()
    add_detr_config(cfg)
    MetadataCatalog.get("test_town").set(evaluator_type=kind, panoptic_json="a", panoptic_root="a")
    kinds = {"panoptic": "Panoptic", "mask": "CityscapesInstance", "semantic": "CityscapesSemSeg"}
    try:
        for name, start in kinds.items():
            cfg.TEST.EVALUATORS = [name]
            if name in allowed:
                (evaluator,) = build_evaluators(cfg, "test_town", "output")
                assert type(evaluator).__name__ == f"{start}Evaluator"
                assert evaluator._metadata.name == "test_town"
            else:
                message = re.escape(f"['{name}'] for test_town, allowed: {allowed}")
                with pytest.raises(ValueError, match=message):
                    build_evaluators(cfg, "test_town", "output")
    finally:
        MetadataCatalog.remove("test_town")


def test_cityscapes_has_evaluators_of_its_own():
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.TEST.EVALUATORS = ["panoptic", "mask", "semantic"]
    MetadataCatalog.get("test_city").set(
        evaluator_type="cityscapes_panoptic_seg", panoptic_json="a.json", panoptic_root="a"
    )
    try:
        names = [type(e).__name__ for e in build_evaluators(cfg, "test_city", "output")]
        assert names == [
            "PanopticEvaluator",
            "CityscapesInstanceEvaluator",
            "CityscapesSemSegEvaluator",
        ]
        cfg.TEST.EVALUATORS = ["box"]
        with pytest.raises(ValueError, match=r"allowed: \['panoptic', 'mask', 'semantic'\]"):
            build_evaluators(cfg, "test_city", "output")
    finally:
        MetadataCatalog.remove("test_city")
