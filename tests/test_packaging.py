"""What a built package holds, and that it works outside of the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The package as `pip install .` would put it into site-packages."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("build")
    command = [sys.executable, "-W", "ignore", "setup.py", "-q"]
    command += ["egg_info", "--egg-base", str(folder)]
    command += ["build", "--build-base", str(folder), "--build-lib", str(folder / "lib")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_package_holds_code_configs_requirements_and_tools_and_nothing_else(built):
    lib = built / "lib"
    found = {path.relative_to(lib) for path in lib.rglob("*") if path.is_file()}
    assert {path.parts[0] for path in found} == {"detr_d2"}
    for pattern in ("configs/**/*.yaml", "requirements/*.txt", "tools/*.py"):
        folder = pattern.split("/")[0]
        expected = {Path("detr_d2", path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
        assert expected and expected <= found
        assert {path for path in found if path.parts[1] == folder} == expected
        found -= expected
    own = {path.relative_to(ROOT) for path in (ROOT / "detr_d2").rglob("*") if path.is_file()}
    assert {path for path in own if "__pycache__" not in path.parts} == found


def test_metadata(built):
    text = (built / "detr_d2.egg-info" / "PKG-INFO").read_text(encoding="utf-8")
    head, _, body = text.partition("\n\n")
    version = next(
        line.split('"')[1]
        for line in (ROOT / "detr_d2/__init__.py").read_text().splitlines()
        if line.startswith("__version__")
    )
    assert f"\nVersion: {version}\n" in head
    assert "\nProject-URL: " in head and "\nClassifier: Typing :: Typed" in head
    assert body.strip().startswith("# detr_d2"), "the README"


def test_model_zoo_registration_and_predictor_work_from_any_folder(built, tiny_set, tmp_path):
    program = f"""
import sys
import torch
sys.path.insert(0, {str(built / "lib")!r})
import detr_d2
from detr_d2 import Predictor, _requirements, model_zoo, register_dataset
from detectron2.modeling import build_model
assert detr_d2.__file__.startswith({str(built)!r})
assert _requirements.requirement_file("detectron2").startswith({str(built)!r})
register_dataset("mine", **{ {key: str(path) for key, path in tiny_set.paths().items()}!r})
cfg = model_zoo.get_config("COCO-PanopticSegmentation/detr_panoptic_R_50.yaml")
cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", "weights.pth"
cfg.MODEL.DETR.ENC_LAYERS = cfg.MODEL.DETR.DEC_LAYERS = 1
cfg.INPUT.MIN_SIZE_TEST = 32
cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("mine",)
torch.save({{"model": build_model(cfg).state_dict()}}, "weights.pth")
output = Predictor(cfg)({str(tiny_set.root / "images" / "a.jpg")!r})
assert output["panoptic_seg"][0].shape == (16, 24)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
