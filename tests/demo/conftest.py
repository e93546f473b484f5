"""A tiny model that finds several segments, and images for it."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_model import build, tiny_cfg

from detr_d2.checkpoint.checkpointer import model_content, save_weights

# Contiguous: brick 0, pipe 1, crate 2, sky 3, soil 4.
CATEGORIES = [
    {"id": 90, "name": "soil", "isthing": 0, "color": [130, 90, 50]},
    {"id": 7, "name": "brick", "isthing": 1, "color": [200, 60, 50]},
    {"id": 11, "name": "sky", "isthing": 0, "color": [110, 180, 230]},
    {"id": 8, "name": "pipe", "isthing": 1, "color": [60, 110, 170]},
    {"id": 20, "name": "crate", "isthing": 1, "color": [200, 160, 50]},
]
TOOL = Path(__file__).parents[2] / "tools/demo.py"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """OUTPUT_DIR of a training: every query finds something, somewhere else."""
    folder = tmp_path_factory.mktemp("trained")
    cfg = tiny_cfg()
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 64, 120
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    model = build(cfg)
    model.box_head.class_embed.weight.data *= 8
    model.box_head.class_embed.bias.data[-1] = -10.0
    model.mask_head.convs[0].weight.data[:, 32:] *= 50
    save_weights(str(folder / "model_final.pth"), model_content(model))
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("never_registered_here",)
    (folder / "config.yaml").write_text(cfg.dump())
    (folder / "categories.json").write_text(json.dumps(CATEGORIES))
    return folder


@pytest.fixture
def images(tmp_path):
    """Three images of different sizes, one of them in a subfolder."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    sizes = {"a.png": (48, 70), "b.png": (60, 44), "deep/c.png": (52, 52)}
    for seed, (name, size) in enumerate(sizes.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        pixels[: size[0] // 2] //= 4
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def demo(trained):
    """Run the tool with the tiny model and these words; its exit status."""
    spec = importlib.util.spec_from_file_location("tools_demo", TOOL)
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)

    def run(*words, config=trained):
        arguments = ["--config-file", str(config), *map(str, words), "MODEL.DEVICE", "cpu"]
        return tool.main(tool.argument_parser().parse_args(arguments))

    return run
