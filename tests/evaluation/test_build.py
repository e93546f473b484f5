import logging

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
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
