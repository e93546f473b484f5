"""The model zoo: names, errors that help, weights of the two kinds of config, building a model."""

from pathlib import Path

import pytest
import torch
from detectron2.data import MetadataCatalog
from tiny_model import tiny_cfg

from detr_d2 import model_zoo
from detr_d2.checkpoint import WeightsError, open_weights
from detr_d2.checkpoint.checkpointer import save_weights
from detr_d2.checkpoint.writing import write_original
from detr_d2.utils import yaml_files

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


def test_a_device_that_was_asked_for_is_there_or_an_error(small_zoo, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"MODEL\.DEVICE cuda:1 was asked for"):
        model_zoo.get("tiny.yaml", device="cuda:1")
    with pytest.raises(ValueError, match=r"MODEL\.DEVICE 'gpu'"):
        model_zoo.get("tiny.yaml", device="gpu")


def test_published_weights_are_whole_and_a_training_may_start_from_less(
    small_zoo, tmp_path, monkeypatch
):
    content = torch.load(tmp_path / "weights.pth", weights_only=True)
    del content["model"]["query_embed.weight"]
    save_weights(str(tmp_path / "weights.pth"), content)
    with pytest.raises(WeightsError, match=r"weights\.pth lacks 1 tensors, such as query_embed"):
        model_zoo.get("tiny.yaml", trained=True, device="cpu")
    monkeypatch.setattr(model_zoo, "PUBLISHED", "https://elsewhere")
    model = model_zoo.get("tiny.yaml", device="cpu")
    assert (model.box_head.class_embed.bias == 3.0).all()


def test_the_config_is_compared_with_what_the_weights_need(small_zoo, tmp_path):
    """Those of the original DETR are for other colours than this config has."""
    weights = open_weights(str(tmp_path / "weights.pth"))
    write_original(str(tmp_path / "weights.pth"), weights)
    with pytest.raises(WeightsError, match=r"needs other settings[\s\S]*MODEL\.PIXEL_STD"):
        model_zoo.get("tiny.yaml", trained=True, device="cpu")


def test_names_are_sorted_and_several_near_ones_are_told(small_zoo, tmp_path):
    for name in ("z.yaml", "deep/b_detr.yaml", "a_detr.yaml", "c_detr.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("SEED: 1")
    known = [
        "a_detr.yaml",
        "c_detr.yaml",
        "deep/b_detr.yaml",
        "tiny.yaml",
        "training.yaml",
        "z.yaml",
    ]
    assert model_zoo.names() == known
    with pytest.raises(ValueError, match=r"no config 'x_detr\.yaml'") as raised:
        model_zoo.get_config_file("x_detr.yaml")
    assert all(name in str(raised.value) for name in known if "detr" in name)
    with pytest.raises(ValueError, match="available: " + ", ".join(known)):
        model_zoo.get_config_file("0")


def test_bases_are_looked_for_from_the_file_and_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, text in {
        "home/far.yaml": "SEED: 7\nVERSION: 2",
        "configs/near.yaml": "_BASE_: ~/far.yaml\nINPUT: {MIN_SIZE_TEST: 8}",
        "configs/deep/top.yaml": "_BASE_: ../near.yaml\nINPUT: {MAX_SIZE_TEST: 9}",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    cfg = model_zoo.read_config(str(tmp_path / "configs/deep/top.yaml"))
    assert (cfg.SEED, cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (7, 8, 9)
    assert not cfg.is_frozen() and "DETR" in model_zoo.read_config().MODEL


@pytest.mark.parametrize(("bases", "count"), [("[b.yaml, b.yaml]", 3), ("[c.yaml, b.yaml]", 4)])
def test_a_config_is_made_of_a_hundred_files_at_most(tmp_path, monkeypatch, bases, count):
    for name, text in {"a": f"_BASE_: {bases}", "b": "SEED: 1", "c": "_BASE_: [b.yaml]"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    for most in (count, count - 1):
        monkeypatch.setattr(model_zoo, "MOST_BASES", most)
        if most == count:
            model_zoo.read_config(str(tmp_path / "a.yaml"))
        else:
            with pytest.raises(ValueError, match=rf"a\.yaml: over {most} bases; does a _BASE_"):
                model_zoo.read_config(str(tmp_path / "a.yaml"))


def test_a_yaml_file_has_a_largest_size(tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text("a: 123")
    monkeypatch.setattr(yaml_files, "LARGEST_FILE", 6)
    assert yaml_files.read_yaml(tmp_path / "a.yaml") == {"a": 123}
    monkeypatch.setattr(yaml_files, "LARGEST_FILE", 5)
    with pytest.raises(ValueError, match=r"a\.yaml: 6 bytes; a YAML file has 5 at most"):
        yaml_files.read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("most", [6, 5])
def test_values_behind_aliases_are_counted_again(tmp_path, monkeypatch, most):
    """Two lists and their one text each, and the list of both."""
    (tmp_path / "a.yaml").write_text("[&a [x], *a]")
    monkeypatch.setattr(yaml_files, "MOST_VALUES", most - 1)
    if most == 6:
        assert yaml_files.read_yaml(tmp_path / "a.yaml") == [["x"], ["x"]]
    else:
        with pytest.raises(
            ValueError, match=r"a\.yaml: line 1: .* unfold into 5 values; allowed: 4"
        ):
            yaml_files.read_yaml(tmp_path / "a.yaml")
