"""A tiny model exported once by the tool, with the images it was compared on."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_model import build, tiny_cfg

from detr_d2.checkpoint.checkpointer import model_content, save_weights

TOOLS = Path(__file__).resolve().parents[2] / "tools"
CLASSES = [("brick", 1, 7), ("pipe", 1, 9), ("crate", 1, 30), ("sky", 0, 31), ("soil", 0, 200)]
# Height and width of the images: landscape, portrait, odd, tiny, large; none is the example's.
SIZES = {"wide": (60, 130), "tall": (150, 80), "odd": (77, 101), "tiny": (24, 31)}
SIZES["large"] = (300, 420)


@pytest.fixture(scope="session")
def export_tool():
    """`tools/export_onnx.py` as a module."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("export_onnx", TOOLS / "export_onnx.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_run(folder):
    """A training folder of a tiny model, BGR, whose queries all find something."""
    cfg = tiny_cfg()
    cfg.INPUT.FORMAT = "BGR"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 96, 150
    cfg.MODEL.PIXEL_MEAN = [90.0, 110.0, 130.0]
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.DETR.DEC_LAYERS = 1
    cfg.MODEL.DETR.SCORE_THRESH = 0.0
    cfg.MODEL.DETR.REFERENCE_POINTS = True
    cfg.MODEL.DETR.DUPLICATE_IOU = 0.9
    model = build(cfg)
    model.box_head.class_embed.bias.data[-1] = -10.0
    # Random queries find nearly the same: classes, attention and masks that differ.
    model.query_embed.weight.data *= 10
    for layer in (model.bbox_attention.q_linear, model.bbox_attention.k_linear):
        layer.weight.data *= 4
    classes = model.box_head.class_embed
    classes.weight.data *= 20
    # They find mostly the third class, a thing now, and the first two, now stuff.
    for values in (classes.weight.data, classes.bias.data):
        values[:-1] = values[:-1].roll(-2, 0)
    model.mask_head.convs[0].weight.data[:, 32:] *= 50
    save_weights(str(folder / "model_final.pth"), model_content(model))
    (folder / "config.yaml").write_text(cfg.dump())
    entries = [{"id": i, "name": n, "isthing": t} for n, t, i in CLASSES]
    (folder / "categories.json").write_text(json.dumps(entries))


def write_images(folder):
    """Five images, one of them turned by its EXIF entry, one grey."""
    generator = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        if name == "odd":
            image = image.convert("L")
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "tall" else 1
        image.save(folder / f"{name}.jpg", exif=exif, quality=95)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, export_tool):
    """Folders "run", "images" and "onnx"."""
    root = tmp_path_factory.mktemp("export")
    for name in ("run", "images"):
        (root / name).mkdir()
    write_run(root / "run")
    write_images(root / "images")
    command = ["--config-file", str(root / "run"), "--images", str(root / "images")]
    args = export_tool.argument_parser().parse_args([*command, "--output", str(root / "onnx")])
    assert export_tool.main(args) == 0
    return root


@pytest.fixture(scope="session")
def runner(exported):
    """The module `run_onnx.py` that lies beside the graphs."""
    spec = importlib.util.spec_from_file_location("run_onnx", exported / "onnx" / "run_onnx.py")
    module = sys.modules["run_onnx"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
