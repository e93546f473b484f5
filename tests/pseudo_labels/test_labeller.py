"""Models of several kinds as labellers."""

import json
import math

import numpy as np
import pytest
import torch
from detectron2 import model_zoo
from detectron2.data import MetadataCatalog
from synthetic_crates import CRATE, SeesByColour, colour_cfg, write_crates
from tiny_model import give_weights, tiny_cfg

from detr_d2.data.categories import CategoryTable
from detr_d2.engine import use_model_categories
from detr_d2.pseudo_labels import label_stuff
from detr_d2.pseudo_labels.classes import model_classes, plan_classes
from detr_d2.pseudo_labels.labeller import Labeller
from detr_d2.pseudo_labels.merge import MergeRules

CUSTOM = CategoryTable([CRATE])
RULES, BY_SEGMENT = MergeRules(min_score=0.0), MergeRules(min_score=0.0, min_confidence=0.0)
IMAGES = [np.full((40, 60, 3), 90, np.uint8), np.full((70, 30, 3), 200, np.uint8)]


def plan_of(cfg):
    return plan_classes(CUSTOM, model_classes(cfg.DATASETS.TRAIN), things="keep")


@pytest.fixture
def tiny(tmp_path):
    """The config of a tiny PanopticDetr of random weights."""
    path = tmp_path / "model.json"
    names = ["truck", "person", "sky", "soil", "wall"]
    path.write_text(
        json.dumps([{"id": i + 1, "name": n, "isthing": int(i < 2)} for i, n in enumerate(names)])
    )
    cfg = tiny_cfg()
    use_model_categories(cfg, "", str(path))
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 32, 64
    give_weights(cfg, tmp_path)
    return cfg


def test_maps_have_the_size_of_the_image_though_the_model_works_smaller(tiny):
    plan = plan_of(tiny)
    torch.manual_seed(0)
    labeller = Labeller(tiny, plan, BY_SEGMENT)
    sizes = []
    model = labeller.predictor.model

    class Spy(torch.nn.Module):
        def forward(self, inputs):
            sizes.extend((x["height"], x["width"]) for x in inputs)
            return model(inputs)

    labeller.predictor.model = Spy()
    found = labeller(IMAGES)
    assert [p.ids.shape for p in found] == [(40, 60), (70, 30)]
    assert sizes == [(32, 48), (64, 27)]
    assert all(p.stuff is None and p.confidence is None for p in found)


def test_images_that_the_model_enlarges_come_back_at_their_size(tiny):
    tiny.INPUT.MIN_SIZE_TEST, tiny.INPUT.MAX_SIZE_TEST = 80, 200
    (found,) = Labeller(tiny, plan_of(tiny), BY_SEGMENT)(IMAGES[:1])
    assert found.ids.shape == (40, 60)


def test_scores_by_pixel(tiny):
    plan = plan_of(tiny)
    for predicted, image in zip(Labeller(tiny, plan, RULES)(IMAGES), IMAGES, strict=True):
        assert predicted.stuff.shape == predicted.confidence.shape == image.shape[:2]
        stuff = {id_ for (isthing, _), id_ in plan.model.items() if not isthing}
        assert set(np.unique(predicted.stuff).tolist()) <= stuff | {0}
        assert predicted.confidence.min() >= 0 and predicted.confidence.max() <= 1


def test_best_stuff_class_from_sums_of_probabilities_and_from_logits(tmp_path):
    cfg = colour_cfg(tmp_path)  # truck 0, sky 1, soil 2
    labeller = Labeller(cfg, plan_of(cfg), RULES)
    sums = torch.tensor([[[0.6, 0.0]], [[0.1, 0.0]], [[0.3, 0.0]]])
    stuff, sure = labeller._per_pixel(sums, (1, 2))
    # Nothing at all is known of the second pixel.
    assert stuff.tolist() == [[11, 0]]
    assert sure[0].tolist() == pytest.approx([0.6, 0.0])
    logits = torch.log(torch.tensor([[[0.6]], [[0.3]], [[0.1]]]))
    stuff, sure = labeller._per_pixel(logits, (1, 1))
    assert stuff.tolist() == [[3]] and sure.item() == pytest.approx(0.6)


def test_model_without_panoptic_or_pixel_scores(tiny, tmp_path, monkeypatch):
    tiny.MODEL.DETR.PANOPTIC_ON = False
    with pytest.raises(ValueError, match=r"gives \['instances'\] and no panoptic_seg"):
        Labeller(tiny, plan_of(tiny), BY_SEGMENT)(IMAGES)
    cfg = colour_cfg(tmp_path)
    monkeypatch.setattr(SeesByColour, "one", lambda self, image: {"panoptic_seg": None})
    with pytest.raises(ValueError, match="no sem_seg, which min_confidence above 0"):
        Labeller(cfg, plan_of(cfg), RULES)(IMAGES)


@pytest.mark.parametrize("fill", ["nearest", "next-best"])
def test_panoptic_fpn_of_detectron2_labels_a_set(tmp_path, register, fill):
    cfg = model_zoo.get_config("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml")
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.FPN.OUT_CHANNELS = cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 16
    cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 16
    cfg.MODEL.SEM_SEG_HEAD.NORM = ""
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 10
    # Random boxes are sure of nothing; every pixel should have a label.
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.0
    cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 0
    cfg.INPUT.MIN_SIZE_TEST = 64
    name = register(**write_crates(tmp_path, 3))
    give_weights(cfg, tmp_path)
    report = label_stuff(
        cfg,
        [name],
        tmp_path / "out",
        stuff="supercategories",
        rules=MergeRules(fill=fill, min_confidence=0.0),
        batch=2,
    )
    assert report.images == 3
    assert report.segments["crate"] == 2 and len(report.segments) > 1
    assert set(report.segments) <= {"crate", "misc", *model_groups()}
    assert report.shares["void"] < 0.5


def model_groups():
    from detr_d2.pseudo_labels.coco_stuff import COCO_STUFF

    return set(COCO_STUFF)


def test_catalog_is_read_only_for_the_names(tmp_path):
    names = MetadataCatalog.get("coco_2017_train_panoptic_separated").stuff_classes
    plan = plan_classes(CUSTOM, model_classes(["coco_2017_train_panoptic_separated"]))
    assert plan.names[False, 1] == names[1]
    assert (False, 0) not in plan.model


def with_sure_queries(cfg, tmp_path, score):
    """Weights with which every query is this sure that it sees sky, the third of five classes."""
    path = tmp_path / "sure.pth"
    state = torch.load(cfg.MODEL.WEIGHTS, weights_only=True)["model"]
    state["box_head.class_embed.weight"].zero_()
    state["box_head.class_embed.bias"][:] = torch.tensor(
        [0, 0, math.log(5 * score / (1 - score)), 0, 0, 0]
    )
    torch.save({"model": state}, path)
    cfg.MODEL.WEIGHTS = str(path)


@pytest.mark.parametrize(("min_score", "found"), [(0.5, {"sky": 0.6}), (0.7, {})])
def test_segments_are_judged_by_the_rules_and_not_by_the_config(tiny, tmp_path, min_score, found):
    """The threshold of the config is 0.85, the segments have 0.6."""
    with_sure_queries(tiny, tmp_path, 0.6)
    tiny.MODEL.DETR.SCORE_THRESH = 0.85
    rules = MergeRules(min_score=min_score, min_confidence=0.0)
    (predicted,) = Labeller(tiny, plan_of(tiny), rules)(IMAGES[:1])
    assert {s["name"]: pytest.approx(s["score"]) for s in predicted.segments} == found
    assert bool(predicted.ids.any()) == bool(found)
    assert tiny.MODEL.DETR.SCORE_THRESH == 0.85, "the caller's config is left alone"


@pytest.mark.parametrize(("rules", "more"), [(BY_SEGMENT, []), (RULES, ["sem_seg"])])
def test_the_model_computes_what_is_used_and_no_more(tiny, rules, more):
    labeller = Labeller(tiny, plan_of(tiny), rules)
    (output,) = labeller.predictor(IMAGES[:1], enlarge=False)
    assert sorted(output) == ["panoptic_seg", *more]


def test_several_masks_on_a_pixel_make_it_no_surer_than_sure(tmp_path):
    cfg = colour_cfg(tmp_path)
    labeller = Labeller(cfg, plan_of(cfg), RULES)
    _, sure = labeller._per_pixel(torch.tensor([[[0.0]], [[1.75]], [[0.5]]]), (1, 1))
    assert sure.item() == 1


def test_a_segment_without_a_score_has_none(tmp_path):
    cfg = colour_cfg(tmp_path)
    labeller = Labeller(cfg, plan_of(cfg), RULES)
    found = labeller._segment({"id": 4, "category_id": 1, "isthing": False})
    assert found == {"id": 4, "isthing": False, "category_id": 3, "name": "sky", "score": None}
