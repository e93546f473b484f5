"""The model zoo: names, errors that help, weights of the two kinds of config, building a model."""

from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog
from tiny_model import tiny_cfg

from detr_d2 import model_zoo
from detr_d2.checkpoint.checkpointer import save_weights

PANOPTIC = "COCO-PanopticSegmentation/detr_panoptic_R_50.yaml"
URL = "https://dl.fbaipublicfiles.com/detr/detr-r50-panoptic-00ce5173.pth"


def test_every_file_of_configs_has_a_name_and_loads():
    root = Path(__file__).parents[1] / "configs"
    assert {root / name for name in model_zoo.names()} == set(root.rglob("*.yaml"))
    for name in model_zoo.names():
        assert Path(model_zoo.get_config_file(name)) == root / name
        assert model_zoo.get_config(name).MODEL.META_ARCHITECTURE in ("Detr", "PanopticDetr")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("COCO-PanopticSegmentation/detr_panoptic_R50.yaml", PANOPTIC),
        ("detr_panoptic_R_50", PANOPTIC),
        ("COCO-Detection/detr_panoptic_R_50.yaml", PANOPTIC),
        ("configs/COCO-PanopticSegmentation/detr_panoptic_R_50.yaml", PANOPTIC),
        ("nothing like it", "FineTuning/mine_panoptic_R_50.yaml"),
        ("../README.md", "available: "),
    ],
)
def test_unknown_name_is_answered_with_those_that_are_near_or_all(wrong, named):
    with pytest.raises(ValueError, match="no config") as raised:
        model_zoo.get_config_file(wrong)
    assert repr(wrong) in str(raised.value) and named in str(raised.value)


def test_trained_has_the_published_weights_and_untrained_what_the_training_starts_from():
    assert model_zoo.get_checkpoint_url(PANOPTIC) == URL
    assert model_zoo.get_config(PANOPTIC, trained=True).MODEL.WEIGHTS == URL
    r50 = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"
    assert r50 == model_zoo.get_config(PANOPTIC).MODEL.WEIGHTS
    r101 = model_zoo.get_config("COCO-Detection/detr_DC5_R_101.yaml")
    assert r101.MODEL.WEIGHTS == "detectron2://ImageNetPretrained/torchvision/R-101.pkl"


def test_what_fine_tuning_starts_from_are_not_its_own_weights():
    name = "FineTuning/mine_panoptic_R_50.yaml"
    assert model_zoo.get_config(name).MODEL.WEIGHTS == URL
    for get in (model_zoo.get_checkpoint_url, lambda n: model_zoo.get_config(n, trained=True)):
        with pytest.raises(ValueError, match=f"has no published weights; these have: .*{PANOPTIC}"):
            get(name)


@pytest.fixture
def small_zoo(tmp_path, monkeypatch):
    """A zoo of one config with "published" weights: a tiny model all of whose logits are 3."""
    monkeypatch.setattr(model_zoo, "CONFIGS", tmp_path)
    monkeypatch.setattr(model_zoo, "PUBLISHED", str(tmp_path))
    cfg = tiny_cfg("Detr")
    (tmp_path / "training.yaml").write_text(cfg.dump())
    from detectron2.modeling import build_model

    model = build_model(cfg)
    model.box_head.class_embed.bias.data[:] = 3.0
    save_weights(str(tmp_path / "weights.pth"), {"model": model.state_dict()})
    text = f'_BASE_: "training.yaml"\nMODEL:\n  WEIGHTS: "{tmp_path}/weights.pth"\n'
    (tmp_path / "tiny.yaml").write_text(text)


@pytest.mark.parametrize(("trained", "bias"), [(True, 3.0), (False, None)])
def test_get_builds_the_model_and_loads_its_weights(small_zoo, trained, bias):
    before = set(MetadataCatalog.list())
    model = model_zoo.get("tiny.yaml", trained, device="cpu")
    assert model.training
    assert ((model.box_head.class_embed.bias == 3.0).all().item()) == (bias == 3.0)
    assert set(MetadataCatalog.list()) == before
