"""The configs for published weights, without the weights: do they agree with what these need?"""

from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog

from detr_d2 import model_zoo
from detr_d2.checkpoint import LoadingRules
from detr_d2.checkpoint.classes import coco_names, plain, plan_rows
from detr_d2.checkpoint.settings import PUBLISHED_DETR, departures
from detr_d2.engine.command_line import load_config
from detr_d2.modeling.class_metadata import class_names_of, classes_of

ROOT = Path(__file__).parents[2]
# They stand beside the schedules of their training, whose names end in the number of epochs.
PUBLISHED = [n for n in model_zoo.names() if n.startswith("COCO-") and "ep." not in n]
PUBLISHED.remove("COCO-PanopticSegmentation/Base-DETR-Panoptic.yaml")
FINE_TUNING = [ROOT / f"configs/FineTuning/{n}_panoptic_R_50.yaml" for n in ("coco", "cityscapes")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_config_is_the_model_that_its_weights_are(name):
    cfg = model_zoo.get_config(name, trained=True)
    assert departures(PUBLISHED_DETR, cfg) == {}
    task = "panoptic" if "panoptic" in name else "boxes"
    url = cfg.MODEL.WEIGHTS
    assert url == model_zoo.get_checkpoint_url(name) == load_config(name, []).MODEL.WEIGHTS
    assert (101 if "R_101" in name else 50) == cfg.MODEL.RESNETS.DEPTH
    assert (2 if "DC5" in name else 1) == cfg.MODEL.RESNETS.RES5_DILATION
    assert ("r101" in url, "dc5" in url) == ("R_101" in name, "DC5" in name)
    assert ("panoptic" in url) == (task == "panoptic")
    arch, test, classes, evaluator = {
        "panoptic": ("PanopticDetr", "coco_2017_val_panoptic", 133, "panoptic"),
        "boxes": ("Detr", "coco_2017_val", 80, "box"),
    }[task]
    assert arch == cfg.MODEL.META_ARCHITECTURE and (test,) == cfg.DATASETS.TEST
    assert classes_of(cfg)[0] == classes and [evaluator] == cfg.TEST.EVALUATORS
    assert cfg.TEST.IMS_PER_BATCH == 1, "as the dilated weights were measured"
    assert name in (ROOT / "MODEL_ZOO.md").read_text()
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
