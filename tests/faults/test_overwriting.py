"""No tool overwrites what it reads, or files of its names that it has not written."""

import importlib

import pytest
from annotation_findings import TABLE
from PIL import Image

from detr_d2.annotation_export import WRITERS
from detr_d2.demo.rank import Rank

IS_INPUT = "is an input and would be overwritten; choose another output"


def run(name: str, *words: object) -> object:
    tool = importlib.import_module(name)
    return tool.main(tool.argument_parser().parse_args([str(word) for word in words]))


@pytest.mark.parametrize(
    "options", [["--output", "3_encoder_attention.png"], ["--output", "a.html", "--pictures", "."]]
)
def test_explain_keeps_its_image(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    image = "3_encoder_attention.png"
    Image.new("RGB", (8, 6)).save(image)
    with pytest.raises(ValueError, match=rf"3_encoder_attention\.png {IS_INPUT}"):
        run("explain", "--config-file", "none", "--input", image, *options)


@pytest.mark.parametrize("name", ["images/deep/er/b.png", "panoptic/a.png"])
def test_visualize_data_keeps_the_set(tiny_set, tmp_path, name):
    paths = [tiny_set.paths()[k] for k in ("image_root", "panoptic_root", "panoptic_json")]
    registered = f"overwriting_{name.replace('/', '_')}"
    options = ["--dataset", registered, *paths, "--quiet", "--output", tmp_path / name]
    with pytest.raises(ValueError, match=IS_INPUT):
        run("visualize_data", *options, "DATASETS.TRAIN", f"('{registered}',)")


@pytest.mark.parametrize("name", ["panoptic.json", "panoptic/a.png"])
def test_label_quality_keeps_its_files(tiny_set, tmp_path, name, capsys):
    pair = [str(tmp_path / "panoptic"), str(tiny_set.json_path)]
    words = [
        word for option in ("--ground-truth", "--custom", "--labels") for word in (option, *pair)
    ]
    tool = importlib.import_module("label_quality")
    before = (tmp_path / name).read_bytes()
    assert tool.main([*words, "--out", str(tmp_path / name)]) == 2
    assert IS_INPUT in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["found/panoptic.json", "found/panoptic/a.png", "metrics.json"])
def test_plot_training_keeps_its_files(tiny_set, tmp_path, name):
    (tmp_path / "found").mkdir()
    (tmp_path / "panoptic").rename(tmp_path / "found/panoptic")
    tiny_set.json_path.rename(tmp_path / "found/panoptic.json")
    found = tmp_path / "found"
    compare = ["--compare", "seen", found / "panoptic", found / "panoptic.json", found]
    with pytest.raises(ValueError, match=IS_INPUT):
        run("plot_training", tmp_path, *compare, "--quiet", "--output", tmp_path / name)


def test_convert_weights_keeps_its_checkpoint(tmp_path, capsys):
    (tmp_path / "a.pth").write_bytes(b"")
    assert run("convert_weights", *[tmp_path / "a.pth"] * 2, "--to", "original") == 1
    assert IS_INPUT in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--categories", "mine/categories.json"]])
def test_export_onnx_keeps_the_categories(tmp_path, monkeypatch, options):
    """Those of --categories, and of the training folder."""
    monkeypatch.chdir(tmp_path)
    for folder in ("mine", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.yaml").write_text("{}")
    folder = "other" if options else "mine"
    with pytest.raises(ValueError, match=rf"mine/categories\.json {IS_INPUT}"):
        run("export_onnx", "--config-file", folder, "--output", "mine", *options)


@pytest.mark.parametrize("name", ["coco", "cvat", "yolo"])
def test_an_export_never_goes_on_with_a_file_of_somebody_else(tmp_path, name):
    file = tmp_path / WRITERS[name].files[-1]
    file.write_text("years of work")
    with pytest.raises(ValueError, match="perhaps corrected by hand, and is not replaced"):
        WRITERS[name](tmp_path, TABLE, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == "years of work"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["pictures/a.jpg", "rank.csv", "rank.txt"])
def test_a_ranking_never_replaces_files_of_somebody_else(tmp_path, name, resume):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=r"is there and no --rank has written it"):
        Rank(str(tmp_path), 0.5, None, resume)
    assert (tmp_path / name).read_text() == "mine"
