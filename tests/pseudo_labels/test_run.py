"""Whole sets: what is written, what happens after an interruption, several processes."""

import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from synthetic_crates import SeesByColour, colour_cfg, files_of, label_in_process, write_crates
from tiny_model import processes

from detr_d2 import register_dataset
from detr_d2.engine import launch
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.pseudo_labels import MergeRules, label_stuff
from detr_d2.pseudo_labels import label_images as label_images_module
from detr_d2.validation.check import Checker, SetFiles


@pytest.fixture
def crates(tmp_path, register):
    return register(**write_crates(tmp_path))


def findings(folder):
    path = str(folder / "panoptic.json")
    checker = Checker(SetFiles(path, str(folder / "images"), str(folder / "panoptic")))
    return [f for f in checker.run() if f.severity == "error"]


def test_labels_of_a_set(crates, tmp_path):
    report = label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", batch=2)
    assert report.images == 5 and report.skipped == []
    assert report.segments == {"crate": 4, "sky": 5, "soil": 5}
    # 4 masks of 64 of the 3200 pixels + 576; the red border of 36 pixels each is filled.
    assert report.shares == {
        "custom": round(256 / 3136, 4),
        "model": round((3136 - 256 - 144) / 3136, 4),
        "filled": round(144 / 3136, 4),
        "void": 0.0,
    }
    assert findings(tmp_path / "out") == []
    register_dataset(
        "labelled",
        image_root=tmp_path / "out/images",
        panoptic_root=tmp_path / "out/panoptic",
        panoptic_json=tmp_path / "out/panoptic.json",
    )
    records, metadata = DatasetCatalog.get("labelled"), MetadataCatalog.get("labelled")
    DatasetCatalog.remove("labelled")
    MetadataCatalog.remove("labelled")
    assert metadata.thing_classes == ["crate", "sky", "soil"]
    for number, record in enumerate(records):
        assert record["image_id"] == 40 + number
        ids, custom = read_ids(record["pan_seg_file_name"]), DatasetCatalog.get(crates)[number]
        masks = read_ids(custom["pan_seg_file_name"])
        assert ((ids == 70000) == (masks == 70000)).all()
        assert (ids != 0).all()
    provenance = {s["category_id"]: s["provenance"] for s in records[0]["segments_info"]}
    assert provenance[0] == {"source": "custom", "classes": [], "score": None, "filled": 0}
    # The crate's border above the horizon: 10 pixels in row 6, and 2 in each of the rows 7 to 9.
    assert provenance[1] == {"source": "model", "classes": ["sky"], "score": 0.8, "filled": 16}


def test_mapping_is_written(crates, tmp_path):
    label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", mapping={"soil": "ground"})
    rows = json.loads((tmp_path / "out/classes.json").read_text())
    assert [(r["source"], r["source_name"], r["name"]) for r in rows] == [
        ("custom", "crate", "crate"),
        ("model", "truck", "misc"),
        ("model", "sky", "sky"),
        ("model", "soil", "ground"),
    ]


def test_interrupted_run_goes_on_and_ends_with_the_same_files(crates, tmp_path, monkeypatch):
    cfg = colour_cfg(tmp_path)
    label_stuff(cfg, [crates], tmp_path / "whole", batch=2)
    # It dies between the PNG of the fourth image and its line in the journal.
    writes = []

    def dying(source, target, mode):
        writes.append(target)
        if len(writes) == 4:
            raise KeyboardInterrupt
        place_image(source, target, mode)

    place_image = label_images_module.place_image
    monkeypatch.setattr(label_images_module, "place_image", dying)
    with pytest.raises(KeyboardInterrupt):
        label_stuff(cfg, [crates], tmp_path / "cut", batch=2)
    assert not (tmp_path / "cut").exists()
    monkeypatch.setattr(label_images_module, "place_image", place_image)
    SeesByColour.calls = 0
    seen = []
    label_stuff(
        cfg, [crates], tmp_path / "cut", batch=2, progress=lambda *counts: seen.append(counts)
    )
    # Two of the three batches are left.
    assert SeesByColour.calls == 2 and seen == [(4, 5), (5, 5)]
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")


def test_finished_labels_are_not_made_again(crates, tmp_path):
    cfg = colour_cfg(tmp_path)
    report = label_stuff(cfg, [crates], tmp_path / "out")
    SeesByColour.calls = 0
    assert label_stuff(cfg, [crates], tmp_path / "out") == report
    assert SeesByColour.calls == 0
    settings = json.loads((tmp_path / "out/labelling.json").read_text())["settings"]
    assert (settings["things"], settings["rules"]["margin"]) == ("misc", 0)


def test_labels_of_other_options_are_replaced_only_when_asked(crates, tmp_path):
    cfg, other = colour_cfg(tmp_path), MergeRules(margin=1)
    label_stuff(cfg, [crates], tmp_path / "out")
    (tmp_path / "out/notes.txt").write_text("corrected manually")
    with pytest.raises(FileExistsError, match="holds labels of other options or inputs"):
        label_stuff(cfg, [crates], tmp_path / "out", rules=other)
    assert (tmp_path / "out/notes.txt").is_file()
    label_stuff(cfg, [crates], tmp_path / "out", rules=other, replace=True)
    assert not (tmp_path / "out/notes.txt").exists()


def test_batches_of_nothing(crates, tmp_path):
    with pytest.raises(ValueError, match="batch 0, must be 1 or more"):
        label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", batch=0)


def test_other_arguments_start_anew(crates, tmp_path, monkeypatch):
    cfg = colour_cfg(tmp_path)
    monkeypatch.setattr(label_images_module, "merge_labels", None)
    with pytest.raises(TypeError):
        label_stuff(cfg, [crates], tmp_path / "out")
    monkeypatch.undo()
    report = label_stuff(cfg, [crates], tmp_path / "out", rules=MergeRules(fill="void"))
    assert report.shares["void"] == round(144 / 3136, 4)


@pytest.mark.usefixtures("forked")
def test_two_processes_give_the_files_of_one(crates, tmp_path):
    label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "one", batch=2)
    launch(label_in_process, processes(2, name=crates, folder=tmp_path))
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    # Three batches of two, two and one image: the second process has the second.
    seen = sorted(path.read_text() for path in tmp_path.glob("seen.*"))
    assert seen == ["2 of 2", "3 of 3"]


def test_several_sets_have_a_json_each(tmp_path):
    paths = write_crates(tmp_path)
    whole = json.loads(paths["panoptic_json"].read_text())
    for name, part in (("tra", slice(0, 3)), ("val", slice(3, 5))):
        content = {**whole, "annotations": whole["annotations"][part]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        register_dataset(name, **{**paths, "panoptic_json": tmp_path / f"{name}.json"})
    register_dataset("twin", **{**paths, "panoptic_json": tmp_path / "val.json"})
    try:
        label_stuff(colour_cfg(tmp_path), ["tra", "val"], tmp_path / "out", batch=2)
        label_stuff(colour_cfg(tmp_path), ["val", "twin"], tmp_path / "twins", batch=2)
    finally:
        for name in ("tra", "val", "twin"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    found = {
        name: json.loads((tmp_path / "out" / f"panoptic_{name}.json").read_text())
        for name in ("tra", "val")
    }
    names = {
        name: [(image["id"], image["file_name"]) for image in content["images"]]
        for name, content in found.items()
    }
    assert names == {
        "tra": [(40, "0.png"), (41, "deep/1.png"), (42, "2.png")],
        "val": [(43, "3.png"), (44, "4.png")],
    }
    assert found["tra"]["categories"] == found["val"]["categories"]
    # Two sets with images of the same names: a folder for each.
    twin = json.loads((tmp_path / "twins/panoptic_twin.json").read_text())
    assert [image["file_name"] for image in twin["images"]] == ["twin/3.png", "twin/4.png"]
    assert (tmp_path / "twins/images/val/3.png").is_file()


def test_images_that_cannot_be_read_are_reported(crates, tmp_path):
    (tmp_path / "images/2.png").write_bytes(b"no image")
    report = label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", batch=2)
    assert report.images == 4
    assert [item.name for item in report.skipped] == ["2.png"]
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert [image["id"] for image in content["images"]] == [40, 41, 43, 44]
    SeesByColour.calls = 0
    assert label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", batch=2) == report
    assert SeesByColour.calls == 0


def test_folder_of_something_else_is_left_alone(crates, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"out is not empty and no labelling"):
        label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out")
    assert files_of(tmp_path / "out") == {"mine.txt": b"mine"}


def test_names_of_unregistered_sets(tmp_path):
    with pytest.raises(ValueError, match="data set 'nowhere' is not registered"):
        label_stuff(colour_cfg(tmp_path), ["nowhere"], tmp_path / "out")
