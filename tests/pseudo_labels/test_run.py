"""Whole sets: what is written, what happens after an interruption, several processes."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from synthetic_crates import SeesByColour, colour_cfg, files_of, label_in_process, write_crates
from tiny_model import processes

from detr_d2 import register_dataset
from detr_d2.data.coco_writer import write_id_png
from detr_d2.engine import launch
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.pseudo_labels import MergeRules, label_stuff
from detr_d2.pseudo_labels import label_images as label_images_module
from detr_d2.pseudo_labels.review import worst_score
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


def test_every_option_makes_other_labels(crates, tmp_path):
    cfg = colour_cfg(tmp_path)
    label_stuff(cfg, [crates], tmp_path / "out", review=0)
    for options in (
        {"mapping": {"soil": "ground"}},
        {"things": "void"},
        {"images": "copy"},
        {"batch": 2},
        {"review": 3},
    ):
        with pytest.raises(FileExistsError, match="holds labels of other options or inputs"):
            label_stuff(cfg, [crates], tmp_path / "out", **{"review": 0, **options})


def other_mask(root, cfg):
    path = root / "panoptic/0.png"
    ids = read_ids(path)
    ids[7, 6] = 0
    write_id_png(path, ids)


def other_image(root, cfg):
    path = root / "images/0.png"
    Image.open(path).convert("L").save(path)


def other_crowd(root, cfg):
    text = (root / "panoptic.json").read_text()
    (root / "panoptic.json").write_text(text.replace('"iscrowd": 0', '"iscrowd": 1', 1))


def other_size(root, cfg):
    cfg.INPUT.MIN_SIZE_TEST += 1


def other_weights(root, cfg):
    os.utime(cfg.MODEL.WEIGHTS, (1, 1))


def other_model(root, cfg):
    cfg.MODEL.PIXEL_MEAN = [1.0, 2.0, 3.0]


def test_every_input_makes_other_labels_but_not_the_device(crates, tmp_path):
    cfg = colour_cfg(tmp_path)
    report = label_stuff(cfg, [crates], tmp_path / "out", review=0)
    cfg.MODEL.DEVICE = "cuda"
    assert label_stuff(cfg, [crates], tmp_path / "out", review=0) == report
    files = [tmp_path / name for name in ("panoptic/0.png", "images/0.png", "panoptic.json")]
    files.append(Path(cfg.MODEL.WEIGHTS))
    before = [(path.read_bytes(), path.stat()) for path in files]
    for change in (other_mask, other_image, other_crowd, other_size, other_weights, other_model):
        changed = cfg.clone()
        change(tmp_path, changed)
        with pytest.raises(FileExistsError, match="holds labels of other options or inputs"):
            label_stuff(changed, [crates], tmp_path / "out", review=0)
        for path, (content, state) in zip(files, before, strict=True):
            path.write_bytes(content)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert label_stuff(cfg, [crates], tmp_path / "out", review=0) == report


def test_a_crowd_of_the_masks_is_one_in_the_labels(crates, tmp_path):
    other_crowd(tmp_path, None)
    label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", review=0)
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    crowds = [[s["iscrowd"] for s in a["segments_info"]] for a in content["annotations"]]
    assert [sum(flags) for flags in crowds] == [1, 0, 0, 0, 0]


def test_a_class_of_the_masks_that_does_not_occur_stays(tmp_path, register):
    """And one of the model that does not is none of the result."""
    paths = write_crates(tmp_path)
    content = json.loads(paths["panoptic_json"].read_text())
    content["categories"].append({"id": 30, "name": "barrel", "isthing": 1})
    paths["panoptic_json"].write_text(json.dumps(content))
    report = label_stuff(colour_cfg(tmp_path), [register(**paths)], tmp_path / "out", review=0)
    assert report.segments == {"crate": 4, "barrel": 0, "sky": 5, "soil": 5}


def test_images_are_linked_or_copied_as_asked(crates, tmp_path):
    for mode, same in (("link", True), ("copy", False)):
        label_stuff(colour_cfg(tmp_path), [crates], tmp_path / mode, images=mode, review=0)
        found = os.path.samefile(tmp_path / "images/0.png", tmp_path / mode / "images/0.png")
        assert found == same


def test_masks_of_another_size_and_of_unknown_ids_are_skipped_with_the_reason(crates, tmp_path):
    height, width = read_ids(tmp_path / "panoptic/0.png").shape
    write_id_png(tmp_path / "panoptic/0.png", np.zeros((height, width + 1), np.int32))
    ids = read_ids(tmp_path / "panoptic/2.png")
    ids[0, 0], ids[1, 1] = 9, 4
    write_id_png(tmp_path / "panoptic/2.png", ids)
    report = label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", review=0)
    assert report.images == 3
    first, second = report.skipped
    assert (first.name, second.name) == ("0.png", "2.png")
    sizes = rf"images/0\.png is {width}x{height} pixels, its masks .*0\.png {width + 1}x{height}"
    assert re.search(sizes, first.reason)
    assert re.search(r"panoptic/2\.png: ids \[4, 9\] are not in the JSON; .*--fix", second.reason)


def test_without_a_label_there_is_no_result_and_the_reasons_are_told(crates, tmp_path):
    for path in (tmp_path / "images").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"no image could be labelled: 0\.png: .*; 2\.png: "):
        label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_differ_in_their_extension_only_are_rejected(crates, monkeypatch):
    tasks = [
        label_images_module.LabelTask(crates, {"file_name": name}, name)
        for name in ("2.jpg", "2.png")
    ]
    monkeypatch.setattr(label_images_module, "_images", lambda name: tasks)
    with pytest.raises(ValueError, match=r"2\.png and 2\.jpg of .* differ in their extension"):
        label_images_module.images_of([crates])


def test_sets_of_other_classes_are_labelled_one_by_one(crates, tmp_path):
    paths = write_crates(tmp_path / "others")
    text = paths["panoptic_json"].read_text()
    paths["panoptic_json"].write_text(text.replace('"crate"', '"barrel"'))
    register_dataset("others", **paths)
    try:
        with pytest.raises(ValueError, match=f"others has other classes than {crates}"):
            label_stuff(colour_cfg(tmp_path), [crates, "others"], tmp_path / "out")
    finally:
        DatasetCatalog.remove("others")
        MetadataCatalog.remove("others")


def test_the_review_shows_as_many_as_asked_the_worst_first(crates, tmp_path):
    """Filled with nothing, the four images with a crate have void."""
    rules = MergeRules(fill="void")
    label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", rules=rules, review=2)
    page = (tmp_path / "out/review/index.html").read_text()
    assert page.count("<article") == 2
    assert "<strong>5 images</strong>, 4 with void. The 2 with the worst" in page
    # Soil is the least sure, in each of them; of equal ones those with the first names.
    assert re.findall(r"worst score ([\d.]+)</span>", page) == ["0.70"] * 2
    assert re.findall(r"</a> (.*?)</h2>", page) == ["0.png", "2.png"]
    assert re.findall(r"badge void\">(.*?)<", page) == ["void 5.6 %", "void 6.2 %"]


@pytest.mark.parametrize(("scores", "worst"), [([0.9, None, 0.4], 0.4), ([None], 1.0), ([], 1.0)])
def test_the_worst_score_of_an_image(scores, worst):
    assert worst_score([{"provenance": {"score": score}} for score in scores]) == worst


def test_batches_of_nothing(crates, tmp_path):
    with pytest.raises(ValueError, match="batch 0, must be 1 or more"):
        label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", batch=0)
    with pytest.raises(ValueError, match="review -1, must be 0 or more"):
        label_stuff(colour_cfg(tmp_path), [crates], tmp_path / "out", review=-1)


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
