"""Any annotation format in one call, and Detectron2's own models on what was registered."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from converted_sets import save_image, save_mask
from detectron2 import model_zoo
from detectron2.data import (
    DatasetCatalog,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.evaluation import COCOEvaluator, SemSegEvaluator, inference_on_dataset
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from PIL import Image

from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.splits import Split
from detr_d2.evaluation.panoptic import PanopticEvaluator
from detr_d2.register import register_masks


@pytest.fixture
def boxes(tmp_path: Path) -> dict:
    """Six images of boxes on a floor under a sky; the arguments of `register_masks`."""
    for number in range(6):
        size = (48, 64) if number % 2 else (64, 48)
        values = np.zeros(size, np.uint8)
        values[: size[0] // 3] = 1
        values[20:34, 6 + number : 22 + number] = 2
        values[36:46, 26:40] = 2
        image = np.stack([values * 90 + 20] * 3, axis=-1)
        save_image(tmp_path / f"images/{number}.png", size)
        Image.fromarray(image).save(tmp_path / f"images/{number}.png")
        save_mask(tmp_path / f"masks/{number}.png", values)
    return {
        "annotation_format": "semantic-png",
        "images": str(tmp_path / "images"),
        "masks": str(tmp_path / "masks"),
        "values": "0=floor,1=sky,2=box",
        "things": ("box",),
        "cache": tmp_path / "cache",
    }


def test_one_call_registers_a_form_and_the_cache_follows_the_inputs(boxes, tmp_path, register):
    name = register(register_masks, **boxes)
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["box", "floor", "sky"]
    assert [len(record["segments_info"]) for record in DatasetCatalog.get(name)] == [4] * 6
    (folder,) = [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    state = (folder / "conversion.json").stat().st_mtime_ns

    register(register_masks, **boxes)
    assert (folder / "conversion.json").stat().st_mtime_ns == state

    save_mask(tmp_path / "masks/0.png", np.zeros((64, 48), np.uint8))
    register(register_masks, **boxes)
    assert [p for p in (tmp_path / "cache").iterdir() if p.is_dir()] == [folder]
    assert [len(record["segments_info"]) for record in DatasetCatalog.get(name)] == [1] + [4] * 5


def test_parts_of_a_split(boxes, register):
    name = register(
        register_masks, **boxes, split=Split(0.5, seed=1), part="train", rules=Rules(min_area=0)
    )
    assert len(DatasetCatalog.get(name)) == 3
    assert MetadataCatalog.get(name).panoptic_json.endswith("panoptic_train.json")


def test_wrong_calls_are_told(boxes, tiny_set, register):
    with pytest.raises(ValueError, match="part must be 'train' or 'val'; found None"):
        register(register_masks, **boxes, split=Split(0.5))
    with pytest.raises(ValueError, match=r"semantic-png: no option \['image_root'"):
        register(register_masks, **boxes, **tiny_set.paths())
    with pytest.raises(TypeError, match="masks"):
        register(**tiny_set.paths(), masks="x")
    with pytest.raises(
        ValueError, match=r"records 'boxes', allowed: \['panoptic', 'with_sem_seg', 'separated'"
    ):
        register(register_masks, **boxes, records="boxes")


def test_separated_records(boxes, register):
    name = register(register_masks, **boxes, records="separated")
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["box"]
    assert metadata.stuff_classes == ["things", "floor", "sky"]
    record = DatasetCatalog.get(name)[0]
    found = sorted((a["category_id"], a["bbox"]) for a in record["annotations"])
    assert found == [(0, [6.0, 20.0, 16.0, 14.0]), (0, [26.0, 36.0, 14.0, 10.0])]
    labels = np.asarray(Image.open(record["sem_seg_file_name"]))
    assert (labels[0, 0], labels[60, 0], labels[25, 10]) == (2, 1, 0)
    # Segments count as the metadata does: things in thing_classes, stuff in stuff_classes.
    names = {
        (metadata.thing_classes if s["isthing"] else metadata.stuff_classes)[s["category_id"]]
        for s in record["segments_info"]
    }
    assert names == {"box", "floor", "sky"}
    sky = next(s for s in record["segments_info"] if s["bbox"][:2] == [0, 0])
    assert metadata.stuff_classes[sky["category_id"]] == "sky"


def test_crowds_and_void_of_a_panoptic_set(tiny_set, register, tmp_path):
    """Contiguous: pipe 0, brick 1, sky 2, soil 3; stuff alone: sky 1, soil 2."""
    name = register(**tiny_set.paths(), records="separated", cache=tmp_path / "cache")
    first, second, empty = DatasetCatalog.get(name)
    assert [(a["category_id"], a["iscrowd"]) for a in first["annotations"]] == [(0, 1), (1, 0)]
    assert len(second["annotations"]) == 1
    assert empty["annotations"] == []
    labels = np.asarray(Image.open(first["sem_seg_file_name"]))
    assert (labels[0, 0], labels[15, 0], labels[9, 5], labels[0, 23]) == (1, 2, 0, 255)
    content = json.loads(Path(MetadataCatalog.get(name).json_file).read_text())
    assert [a["category_id"] for a in content["annotations"]] == [2, 9, 2]


def small_config(path: str, name: str):
    """Detectron2's config, for the CPU, small images and few classes; nothing about the data."""
    cfg = model_zoo.get_config(path)
    metadata = MetadataCatalog.get(name)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = 16
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 16
    cfg.MODEL.SEM_SEG_HEAD.NORM = ""
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 8
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 10
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(metadata.get("thing_classes", []))
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(metadata.get("stuff_classes", []))
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (64,), 64
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (name,)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 2
    return cfg


@pytest.mark.parametrize(
    ("records", "config"),
    [
        ("separated", "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml"),
        ("instances", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"),
        ("semantic", "Misc/semantic_R_50_FPN_1x.yaml"),
    ],
)
def test_detectron2s_own_models_train_and_evaluate(boxes, register, tmp_path, records, config):
    name = register(register_masks, **boxes, records=records)
    cfg = small_config(config, name)
    torch.manual_seed(0)
    model = build_model(cfg)
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    batches = iter(build_detection_train_loader(cfg))
    with EventStorage():
        for _ in range(2):
            losses = model(next(batches))
            total = sum(losses.values())
            assert torch.isfinite(total)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    evaluators = {
        "coco_panoptic_seg": lambda: PanopticEvaluator(name, str(tmp_path)),
        "coco": lambda: COCOEvaluator(
            name, tasks=("bbox", "segm"), output_dir=str(tmp_path), use_fast_impl=False
        ),
        "sem_seg": lambda: SemSegEvaluator(name, output_dir=str(tmp_path)),
    }
    evaluator = evaluators[MetadataCatalog.get(name).evaluator_type]()
    loader = build_detection_test_loader(cfg, name)
    results = inference_on_dataset(model, loader, evaluator)
    assert list(results) in (["panoptic_seg"], ["bbox", "segm"], ["bbox"], ["sem_seg"])
    assert os.path.isdir(tmp_path / "cache")
