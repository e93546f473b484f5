"""What --config-file may be, which weights follow, and where the KEY VALUE pairs begin."""

import pytest
import torch

from detr_d2 import model_zoo
from detr_d2.engine import command_line
from detr_d2.engine.command_line import ToolParser, first_pair, load_config, read_config
from detr_d2.engine.training_folder import best_weights

PANOPTIC = "COCO-PanopticSegmentation/detr_panoptic_R_50.yaml"


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ("--input a b MODEL.DEVICE cpu", 2),
        ("--input a b SEED 3 MODEL.DETR.FREEZE True", 4),
        ("--input a b", 0),
        # A typing error inside a section is one of the config, which says so.
        ("--input a MODEL.DEVCIE cpu", 2),
        # File names in capitals.
        ("--input DSC_0001.JPG DSC_0002.JPG", 0),
        ("--input TEST.JPG", 0),
        ("--dataset MODEL A B C SOLVER.BASE_LR -1", 2),
        # A value that looks like a key.
        ("OUTPUT_DIR SEED", 2),
        ("", 0),
    ],
)
def test_pairs_at_the_end_are_found(words, pairs):
    words = words.split()
    assert len(words) - first_pair(words) == pairs


def parser():
    made = ToolParser()
    made.add_argument("--input", nargs="+")
    return made


def test_an_option_of_many_values_does_not_swallow_the_pairs():
    args = parser().parse_args(["--input", "a", "b", "MODEL.DEVICE", "cpu"])
    assert (args.input, args.opts) == (["a", "b"], ["MODEL.DEVICE", "cpu"])
    assert parser().parse_args(["MODEL.DEVICE", "cpu"]).input is None
    assert parser().parse_args([]).opts == []


@pytest.mark.parametrize("line", ["stray --input a", "--inptu a", "stray MODEL.DEVICE cpu"])
def test_what_is_neither_option_nor_pair_is_an_error(line, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(line.split())
    assert "stray" in capsys.readouterr().err or "inptu" in line


@pytest.fixture
def run_folder(tmp_path):
    """A training folder: its config, which names the weights it started from."""
    cfg = model_zoo.read_config()
    cfg.SEED = 77
    cfg.MODEL.WEIGHTS = "start.pth"
    cfg.MODEL.DEVICE = "cpu"
    (tmp_path / "config.yaml").write_text(cfg.dump())
    return tmp_path


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_config_is_a_file_a_training_folder_or_a_name(run_folder):
    assert read_config(str(run_folder / "config.yaml")).SEED == 77
    assert read_config(str(run_folder)).SEED == 77
    assert read_config(str(run_folder), ["SEED", "5"]).SEED == 5
    assert model_zoo.get_checkpoint_url(PANOPTIC) == read_config(PANOPTIC).MODEL.WEIGHTS
    assert read_config("").SEED == 1


def test_config_that_is_none_of_them_is_named_with_what_is_near(tmp_path):
    with pytest.raises(ValueError, match=f"config detr_R_5.yaml: no such file.*{PANOPTIC[:4]}"):
        read_config("detr_R_5.yaml")
    with pytest.raises(ValueError, match=r"is no training folder: it holds no config.yaml"):
        read_config(str(tmp_path))


def test_best_weights_are_chosen_averaged_last_in_this_order(run_folder):
    with pytest.raises(ValueError, match="its weights are none: is the training finished"):
        best_weights(run_folder)
    touch(run_folder, "model_0000099.pth")
    with pytest.raises(ValueError, match=r"\['model_0000099.pth'\]"):
        best_weights(run_folder)
    for name in ("model_final.pth", "model_ema.pth", "model_best.pth"):
        touch(run_folder, name)
        assert best_weights(run_folder) == str(run_folder / name)


def test_a_folder_gives_its_best_weights_only_where_they_are_wanted(run_folder):
    touch(run_folder, "model_final.pth")
    folder = str(run_folder)
    assert str(run_folder / "model_final.pth") == load_config(folder, best=True).MODEL.WEIGHTS
    assert load_config(folder).MODEL.WEIGHTS == "start.pth"
    mine = load_config(folder, ["MODEL.WEIGHTS", "mine.pth"], best=True)
    assert mine.MODEL.WEIGHTS == "mine.pth"


def test_device_of_the_config_yields_and_that_of_the_user_does_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command_line.read_config(PANOPTIC).MODEL.DEVICE == "cuda"
    assert load_config(PANOPTIC).MODEL.DEVICE == "cpu"
    with pytest.raises(ValueError, match="was asked for"):
        load_config(PANOPTIC, ["MODEL.DEVICE", "cuda"])
