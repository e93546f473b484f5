"""tools/label_stuff.py, tools/label_quality.py and the commands of tools/examples/run_recipe.py."""

import json

import check_dataset
import convert_masks
import label_quality
import label_stuff
import pytest
import run_recipe
import torch
import train_net
from detectron2.data import DatasetCatalog, MetadataCatalog
from synthetic_crates import MODEL_CATEGORIES, write_crates

from detr_d2.pseudo_labels import MergeRules

CONFIG = """
MODEL:
  META_ARCHITECTURE: SeesByColour
  DEVICE: cpu
  WEIGHTS: {weights}
INPUT:
  FORMAT: RGB
  MIN_SIZE_TEST: 0
"""


@pytest.fixture
def arguments(tmp_path):
    """Those of a run on crates that are not registered."""
    paths = write_crates(tmp_path)
    weights = tmp_path / "model.pth"
    torch.save({"model": {"weight": torch.zeros(1)}}, weights)
    (tmp_path / "model.yaml").write_text(CONFIG.format(weights=weights))
    (tmp_path / "categories.json").write_text(json.dumps(MODEL_CATEGORIES))
    yield [
        *("--dataset", "tool_crates", *map(str, paths.values())),
        *("--config-file", str(tmp_path / "model.yaml"), "--out", str(tmp_path / "out")),
    ]
    for catalog in (DatasetCatalog, MetadataCatalog):
        if "tool_crates" in catalog.list():
            catalog.remove("tool_crates")


def test_labels_and_prints_where_to_look(arguments, tmp_path, capsys):
    assert label_stuff.main([*arguments, "--batch", "2"]) == 0
    printed = capsys.readouterr().out
    assert "5 images: 8.2 % custom, 87.2 % model, 4.6 % filled, 0.0 % void" in printed
    assert f"look at them before you train on them: {tmp_path}/out/review/index.html" in printed
    assert (tmp_path / "out/review/index.html").is_file()


def test_images_skipped_show_in_the_exit_status(arguments, tmp_path, capsys):
    (tmp_path / "images/2.png").write_bytes(b"no image")
    assert label_stuff.main([*arguments, "--review", "0"]) == 3
    assert "skipped: 2.png" in capsys.readouterr().out
    assert not (tmp_path / "out/review").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mapping", "LIST"], "must be an object"),
        (["--overlap", "2"], "overlap 2.0, must be in 0..1"),
        (["--dataset", "a", "b"], "--dataset a b: NAME IMAGES PNGS JSON, or the NAME alone"),
        (["--dataset", "nowhere"], "data set 'nowhere' is not registered"),
    ],
)
def test_wrong_arguments(arguments, more, message, capsys, tmp_path):
    (tmp_path / "list.json").write_text('["soil"]')
    more = [option.replace("LIST", str(tmp_path / "list.json")) for option in more]
    assert label_stuff.main([*more, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_file_of_the_user_is_run_first(arguments, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from detr_d2 import register_dataset\n"
        f"register_dataset('tool_crates', image_root={str(tmp_path / 'images')!r},\n"
        f"    panoptic_root={str(tmp_path / 'panoptic')!r},\n"
        f"    panoptic_json={str(tmp_path / 'panoptic.json')!r})\n"
    )
    by_name = ["--register", str(tmp_path / "mine.py"), "--dataset", "tool_crates", *arguments[5:]]
    assert label_stuff.main([*by_name]) == 0


def test_rules_come_from_the_options(arguments):
    args = label_stuff.argument_parser().parse_args([*arguments, "--halo", "2", "--fill", "void"])
    assert label_stuff.rules_of(args) == MergeRules(halo=2, fill="void")


def test_quality_of_labels_that_are_right(arguments, tmp_path, capsys):
    label_stuff.main([*arguments])
    labels = [str(tmp_path / "out/panoptic"), str(tmp_path / "out/panoptic.json")]
    custom = [str(tmp_path / "panoptic"), str(tmp_path / "panoptic.json")]
    options = ["--ground-truth", *labels, "--custom", *custom, "--labels", *labels]
    assert label_quality.main([*options, "--out", str(tmp_path / "q.json")]) == 0
    (figures,) = json.loads((tmp_path / "q.json").read_text()).values()
    assert (figures["stuff_accuracy"], figures["mIoU"], figures["leaked"]) == (100, 100, 0)
    assert (
        label_quality.main(["--ground-truth", *custom, "--custom", *custom, "--labels", *labels])
        == 0
    )
    broken = {"images": [], "annotations": [], "categories": MODEL_CATEGORIES}
    (tmp_path / "empty.json").write_text(json.dumps(broken))
    empty = [custom[0], str(tmp_path / "empty.json")]
    assert (
        label_quality.main(["--ground-truth", *empty, "--custom", *custom, "--labels", *labels])
        == 2
    )
    assert "5 images: no ground truth" in capsys.readouterr().err


def test_commands_of_the_recipe_are_what_the_tools_take(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        run_recipe.subprocess, "run", lambda command, **_: commands.append(command[1:])
    )
    monkeypatch.setattr(run_recipe.Recipe, "report", lambda self: None)
    run_recipe.Recipe(tmp_path, tmp_path / "demo", run_recipe.THINGS).run(False, True)
    parsers = {
        "tools/convert_masks.py": convert_masks.argument_parser(),
        "tools/label_stuff.py": label_stuff.argument_parser(),
        "tools/check_dataset.py": check_dataset.argument_parser(),
        "tools/train_net.py": train_net.argument_parser(),
    }
    used = {command[0] for command in commands}
    assert set(parsers) < used
    for command in commands:
        if command[0] in parsers:
            parsers[command[0]].parse_args(command[1:])
    evaluations = [c for c in commands if "--eval-only" in c]
    # The ground truth stands for both names, so that classes are numbered alike.
    assert [c.count(str(tmp_path / "data/panoptic_val.json")) for c in evaluations] == [1, 1]
    assert [c.count(str(tmp_path / "data/panoptic_train.json")) for c in evaluations] == [1, 1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_remedy_is_printed(arguments, capsys):
    assert label_stuff.main([*arguments, "MODEL.DEVICE", "cuda"]) == 2
    assert "MODEL.DEVICE cpu runs here" in capsys.readouterr().err
