"""File names in a JSON never lead out of the folder that they are relative to."""

import shutil
from pathlib import Path

import label_quality
import plot_training
import pytest
from synthetic_crates import colour_cfg, files_of, write_crates

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records
from detr_d2.pseudo_labels import label_stuff
from detr_d2.pseudo_labels.label_images import LabelTask, images_of
from detr_d2.utils.files import path_below
from detr_d2.validation.check import Checker, SetFiles
from detr_d2.validation.repair import repair_sets


@pytest.mark.parametrize(
    "name", ["../a.png", "deep/../../a.png", "/etc/passwd", "..", ".", "", "C:/a.png", "a\0.png"]
)
def test_names_that_leave_are_rejected(name):
    with pytest.raises(ValueError, match=r"leads out of root"):
        path_below("root", name)


@pytest.mark.parametrize("name", ["a.png", "deep/er/a.png", "./a.png", "a..b.png", "..a/b.png"])
def test_names_below_are_kept(name):
    assert path_below("root", name) == f"root/{name.removeprefix('./')}"


@pytest.fixture(params=["relative", "absolute"])
def outside(request, tmp_path):
    """A folder beside the set's, and how a name can lead to a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    prefix = "../outside" if request.param == "relative" else str(folder)
    return folder, prefix


@pytest.mark.parametrize("kind", ["images", "annotations"])
def test_check_repair_and_loading_stay_inside(tiny_set, outside, tmp_path, kind):
    folder, prefix = outside
    root = tiny_set.root / ("images" if kind == "images" else "panoptic")
    entry = tiny_set.content[kind][0]
    # The file is there: only its place is wrong.
    shutil.copy(root / entry["file_name"], folder / "x.png")
    entry["file_name"] = f"{prefix}/x.png"
    tiny_set.write()
    before = files_of(folder)
    paths = {key: str(value) for key, value in tiny_set.paths().items()}
    files = SetFiles(paths["panoptic_json"], paths["image_root"], paths["panoptic_root"])
    kinds = [f.kind for f in Checker(files).run() if f.severity == "error"]
    assert kinds == ["path leaves the folder"]
    (skipped,) = repair_sets([files], tmp_path / "deep/fixed")
    assert "leads out of" in skipped.reason
    assert files_of(folder) == before
    assert {path.split("/")[0] for path in files_of(tmp_path / "deep")} == {"fixed"}
    table = CategoryTable(tiny_set.content["categories"])
    with pytest.raises(ValueError, match="leads out of"):
        load_records(files.panoptic_json, files.image_root, files.panoptic_root, table)


def test_labels_are_never_written_outside(tmp_path, register, monkeypatch):
    (tmp_path / "set").mkdir()
    name = register(**write_crates(tmp_path / "set"))
    (task, *_) = images_of([name])
    assert isinstance(task, LabelTask)
    from detectron2.data import DatasetCatalog

    records = DatasetCatalog.get(name)
    records[0]["file_name"] = str(tmp_path / "set/images/../../elsewhere.png")
    monkeypatch.setattr(DatasetCatalog, "get", lambda _: records)
    with pytest.raises(ValueError, match="leads out of"):
        label_stuff(colour_cfg(tmp_path), [name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_figures_and_plots_stay_inside(tiny_set, outside, tmp_path, capsys):
    _, prefix = outside
    tiny_set.content["annotations"][0]["file_name"] = f"{prefix}/x.png"
    tiny_set.write()
    pair = [str(tmp_path / "panoptic"), str(tiny_set.json_path)]
    options = ("--ground-truth", "--custom", "--labels")
    assert label_quality.main([word for option in options for word in (option, *pair)]) == 2
    assert "leads out of" in capsys.readouterr().err
    with pytest.raises(ValueError, match="leads out of"):
        plot_training.read_maps(*map(Path, pair))
