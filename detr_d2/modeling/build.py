"""Read the config and the catalog: the only place, but for the two heads."""

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import Backbone

from .criterion import SetCriterion
from .matcher import HungarianMatcher
from .postprocess import PostProcess
from .registry import BBOX_ATTENTION_REGISTRY, MASK_HEAD_REGISTRY
from .transformer import Transformer


def detr_arguments(cfg: CfgNode, backbone: Backbone) -> dict:
    """Arguments of `Detr` from the config."""
    detr = cfg.MODEL.DETR
    num_classes, thing_ids = classes_of(cfg)
    transformer = Transformer(
        hidden_dim=detr.HIDDEN_DIM,
        nheads=detr.NHEADS,
        dim_feedforward=detr.DIM_FEEDFORWARD,
        enc_layers=detr.ENC_LAYERS,
        dec_layers=detr.DEC_LAYERS,
        dropout=detr.DROPOUT,
        pre_norm=detr.PRE_NORM,
    )
    return {
        "backbone": backbone,
        "in_feature": "res5",
        "transformer": transformer,
        "hidden_dim": detr.HIDDEN_DIM,
        "num_classes": num_classes,
        "num_queries": detr.NUM_QUERIES,
        "query_groups": detr.QUERY_GROUPS,
        "position_temperature": detr.POSITION_TEMPERATURE,
        "thing_ids": thing_ids,
        "class_names": class_names_of(cfg, num_classes),
        "criterion": build_criterion(cfg),
        "pixel_mean": tuple(cfg.MODEL.PIXEL_MEAN),
        "pixel_std": tuple(cfg.MODEL.PIXEL_STD),
        "instance_on": detr.INSTANCE_ON,
        "instance_score_thresh": detr.INSTANCE_SCORE_THRESH,
    }


def panoptic_arguments(cfg: CfgNode, backbone: Backbone) -> dict:
    """Arguments that `PanopticDetr` has beside those of `Detr`."""
    detr = cfg.MODEL.DETR
    attention = BBOX_ATTENTION_REGISTRY.get(detr.BBOX_ATTENTION.NAME)(cfg)
    mask_head = MASK_HEAD_REGISTRY.get(detr.MASK_HEAD.NAME)
    return {
        "bbox_attention": attention,
        "mask_head": mask_head(cfg, backbone.output_shape(), attention.num_maps),
        "mask_features": list(detr.MASK_HEAD.IN_FEATURES),
        "freeze": detr.FREEZE,
        "panoptic_on": detr.PANOPTIC_ON,
        "sem_seg_on": detr.SEM_SEG_ON,
        "score_thresh": detr.SCORE_THRESH,
        "min_area": detr.MIN_AREA,
        "postprocess": PostProcess(
            crop_padding=detr.POSTPROCESS.CROP_PADDING,
            unite_stuff=detr.POSTPROCESS.UNITE_STUFF,
            resize=detr.POSTPROCESS.RESIZE,
        ),
    }


def build_criterion(cfg: CfgNode) -> SetCriterion:
    """Matcher and losses from the config."""
    detr = cfg.MODEL.DETR
    return SetCriterion(
        matcher=HungarianMatcher(
            cost_class=detr.COST_CLASS, cost_l1=detr.COST_L1, cost_giou=detr.COST_GIOU
        ),
        weights={
            "class": detr.CLASS_WEIGHT,
            "l1": detr.L1_WEIGHT,
            "giou": detr.GIOU_WEIGHT,
            "focal": detr.FOCAL_WEIGHT,
            "dice": detr.DICE_WEIGHT,
        },
        no_object_weight=detr.NO_OBJECT_WEIGHT,
        deep_supervision=detr.DEEP_SUPERVISION,
        mask_score_thresh=detr.MASK_TRAIN_SCORE_THRESH,
    )


def classes_of(cfg: CfgNode) -> tuple[int, frozenset[int]]:
    """Number of classes, and contiguous ids of the things, from config and metadata.

    Raises:
        ValueError: NUM_CLASSES disagrees with the data set, or neither of them knows.
    """
    wanted = cfg.MODEL.DETR.NUM_CLASSES
    for name in [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]:
        meta = MetadataCatalog.get(name)
        things = set(meta.get("thing_dataset_id_to_contiguous_id", {}).values())
        stuff = set(meta.get("stuff_dataset_id_to_contiguous_id", {}).values())
        known = len(things | stuff)
        if not known:
            continue
        if wanted not in (0, known):
            raise ValueError(
                f"MODEL.DETR.NUM_CLASSES is {wanted}, but data set {name!r} has {known} classes "
                f"({len(things)} things, {len(stuff - things)} stuff); set it to {known} or to 0"
            )
        return known, frozenset(things)
    if wanted:
        return wanted, frozenset(range(wanted))
    raise ValueError(
        "the number of classes is unknown: register the data sets of DATASETS.TRAIN or "
        f"DATASETS.TEST {(*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)} first, or set "
        "MODEL.DETR.NUM_CLASSES (always for a set of register_coco_instances, which knows its "
        "classes only after loading)"
    )


def class_names_of(cfg: CfgNode, count: int) -> tuple[str, ...]:
    """Names of the classes in contiguous order, from the first data set that has that many."""
    for name in [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]:
        meta = MetadataCatalog.get(name)
        for key in ("stuff_classes", "thing_classes"):
            names = meta.get(key, ())
            if len(names) == count:
                return tuple(names)
    return ()
