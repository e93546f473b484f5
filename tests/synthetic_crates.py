"""A model that sees by colour, and images for it, so that labels can be known beforehand."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from kills import start_child
from PIL import Image
from tiny_model import give_weights
from torch import nn

from detr_d2 import add_detr_config
from detr_d2.data.coco_writer import describe_segments, write_id_png
from detr_d2.engine import use_model_categories
from detr_d2.pseudo_labels import label_stuff

MODEL_CATEGORIES = [
    {"id": 8, "name": "truck", "isthing": 1},
    {"id": 3, "name": "sky", "isthing": 0},
    {"id": 11, "name": "soil", "isthing": 0},
]
CRATE = {"id": 8, "name": "crate", "isthing": 1, "color": [200, 150, 90]}
BLUE, BROWN, RED = (90, 160, 240), (120, 80, 40), (230, 40, 40)
SIZES = [(20, 32), (32, 20), (24, 24), (20, 32), (32, 20)]


@META_ARCH_REGISTRY.register()
class SeesByColour(nn.Module):
    """Blue is sky, brown soil, red a truck; it counts how often it is called."""

    calls = 0

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batched_inputs: list[dict]) -> list[dict]:
        type(self).calls += 1
        return [self.one(x["image"]) for x in batched_inputs]

    def one(self, image: torch.Tensor) -> dict[str, Any]:
        colors = torch.tensor([RED, BLUE, BROWN])[:, :, None, None]
        best = (image[None] - colors).abs().sum(1).argmin(0)
        segments = [
            {"id": i + 1, "category_id": i, "isthing": i == 0, "score": 0.9 - 0.1 * i}
            for i in best.unique().tolist()
        ]
        scores = torch.nn.functional.one_hot(best, 3).permute(2, 0, 1).float()
        return {"panoptic_seg": ((best + 1).int(), segments), "sem_seg": scores}


def colour_cfg(folder: Path) -> CfgNode:
    """Its config."""
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.MODEL.META_ARCHITECTURE = "SeesByColour"
    cfg.MODEL.DEVICE = "cpu"
    give_weights(cfg, folder)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST = 0
    path = folder / "model_categories.json"
    if not path.exists():
        # Two processes at once would read each other's half.
        path.write_text(json.dumps(MODEL_CATEGORIES))
    use_model_categories(cfg, "", str(path))
    return cfg


def write_crates(root: Path, count: int = 5) -> dict[str, Path]:
    """Images of a crate on soil before the sky, with a mask of the crate; the last has none.

    The crate is red, one pixel larger all round than its mask.
    """
    images, annotations = [], []
    for number, (height, width) in enumerate(SIZES[:count]):
        image = np.empty((height, width, 3), np.uint8)
        image[:] = BROWN
        image[: height // 2] = BLUE
        ids = np.zeros((height, width), np.int32)
        if number < count - 1:
            image[6:16, 5:15] = RED
            ids[7:15, 6:14] = 70000
        name = f"deep/{number}.png" if number == 1 else f"{number}.png"
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / "images" / name)
        write_id_png(root / "panoptic" / f"{number}.png", ids)
        size = {"height": height, "width": width}
        images.append({"id": 40 + number, "file_name": name, **size})
        segments = describe_segments(ids, {70000: 8})
        annotations.append(
            {"image_id": 40 + number, "file_name": f"{number}.png", "segments_info": segments}
        )
    content = {"images": images, "annotations": annotations, "categories": [CRATE]}
    (root / "panoptic.json").write_text(json.dumps(content))
    return {
        "image_root": root / "images",
        "panoptic_root": root / "panoptic",
        "panoptic_json": root / "panoptic.json",
    }


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder and its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def label_in_process(args: Namespace) -> None:
    """Label as one of several processes."""
    start_child()
    folder = args.folder

    def report(done: int, total: int) -> None:
        (folder / f"seen.{comm.get_rank()}").write_text(f"{done} of {total}")

    label_stuff(colour_cfg(folder), [args.name], folder / "two", batch=2, progress=report)
