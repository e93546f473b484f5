import json
import math

from detr_d2.evaluation import flat_results


def test_figures_by_name_and_none_for_what_was_not_measured():
    nested = {
        "panoptic_seg": {"PQ": 50.0, "SQ": 80.0, "RQ": 60.0, "PQ_th": math.nan, "PQ_st": 50.0},
        "bbox": {"AP": 0.0, "AP50": 1.0},
    }
    flat = flat_results(nested)
    assert flat == {
        "PQ": 50.0,
        "SQ": 80.0,
        "RQ": 60.0,
        "PQ_th": None,
        "PQ_st": 50.0,
        "box_AP": 0.0,
        "mask_AP": None,
        "mIoU": None,
    }
    json.dumps(flat, allow_nan=False)


def test_what_is_no_number_in_json_is_none():
    flat = flat_results({"bbox": {"AP": math.inf}, "sem_seg": {"mIoU": -math.inf}})
    assert (flat["box_AP"], flat["mIoU"]) == (None, None)


def test_nothing_measured():
    assert set(flat_results({}).values()) == {None}
