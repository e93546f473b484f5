"""The configs for published weights, without the weights: do they agree with what these need?"""

from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog

from detr_d2.checkpoint import LoadingRules
from detr_d2.checkpoint.classes import coco_names, plain, plan_rows
from detr_d2.checkpoint.settings import PUBLISHED_DETR, departures
from detr_d2.engine.command_line import load_config
from detr_d2.modeling.class_metadata import class_names_of, classes_of

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "configs/Published").glob("*.yaml"))
FINE_TUNING = [ROOT / f"configs/FineTuning/{n}_panoptic_R_50.yaml" for n in ("coco", "cityscapes")]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_config_is_the_model_that_its_weights_are(path):
    cfg = load_config(str(path), [])
    assert departures(PUBLISHED_DETR, cfg) == {}
    task = path.stem.split("_")[1]
    url = cfg.MODEL.WEIGHTS
    assert (101 if "R_101" in path.stem else 50) == cfg.MODEL.RESNETS.DEPTH
    assert (2 if "DC5" in path.stem else 1) == cfg.MODEL.RESNETS.RES5_DILATION
    assert ("r101" in url, "dc5" in url) == ("R_101" in path.stem, "DC5" in path.stem)
    assert "panoptic" in url if task == "panoptic" else "panoptic" not in url
    arch, test, classes, evaluator = {
        "panoptic": ("PanopticDetr", "coco_2017_val_panoptic", 133, "panoptic"),
        "boxes": ("Detr", "coco_2017_val", 80, "box"),
    }[task]
    assert arch == cfg.MODEL.META_ARCHITECTURE and (test,) == cfg.DATASETS.TEST
    assert classes_of(cfg)[0] == classes and [evaluator] == cfg.TEST.EVALUATORS
    assert cfg.TEST.IMS_PER_BATCH == 1, "as the dilated weights were measured"
    assert f"configs/Published/{path.name}" in (ROOT / "MODEL_ZOO.md").read_text()
    assert url in (ROOT / "MODEL_ZOO.md").read_text()


def test_all_seven_are_there():
    assert len(PUBLISHED) == 7


@pytest.mark.parametrize(("path", "classes", "kept"), [(FINE_TUNING[0], 133, 133)] * 1)
def test_fine_tuning_on_coco_keeps_all_rows(path, classes, kept):
    assert kept_rows(path) == (classes, kept)


def test_fine_tuning_on_cityscapes_keeps_what_coco_knows_by_any_name():
    # All but pole, traffic sign, rider.
    assert kept_rows(FINE_TUNING[1]) == (19, 16)


def kept_rows(path):
    cfg = load_config(str(path), [])
    count, things = classes_of(cfg)
    names = class_names_of(cfg, count)
    rules = LoadingRules.from_config(cfg)
    known = {plain(name) for name in coco_names(250) if name}
    assert {plain(name) for name in rules.renamed.values()} <= known
    assert {plain(name) for name in rules.renamed} <= {plain(name) for name in names}
    plan = plan_rows(coco_names(250), 250, names, count, rules.class_rows, rules.renamed)
    assert not cfg.MODEL.DETR.FREEZE and things
    assert MetadataCatalog.get(cfg.DATASETS.TEST[0]).panoptic_json
    return count, len(plan.kept)
