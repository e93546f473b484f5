"""Image by image: what is read, what is rejected, and what the written entries say."""

import json
import os

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from synthetic_crates import colour_cfg, write_crates

from detr_d2 import register_dataset
from detr_d2.data.coco_writer import write_id_png
from detr_d2.pseudo_labels import label_stuff
from detr_d2.pseudo_labels.label_images import (
    LabelTask,
    custom_categories,
    fingerprint_of,
    images_of,
)
from detr_d2.pseudo_labels.run import _model_settings


@pytest.fixture
def crates(tmp_path, register):
    """Three images of crates, and their JSON, which is written and registered when called."""
    paths = write_crates(tmp_path, 3)
    content = json.loads(paths["panoptic_json"].read_text())

    def written():
        paths["panoptic_json"].write_text(json.dumps(content))
        return register(**paths)

    written.content = content
    return written


def test_a_custom_crowd_is_one_in_the_labels_and_sizes_are_those_of_the_image(crates, tmp_path):
    (segment,) = crates.content["annotations"][1]["segments_info"]
    segment["iscrowd"] = 1
    label_stuff(colour_cfg(tmp_path), [name := crates()], tmp_path / "out", review=0)
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    crowds = [[s["iscrowd"] for s in a["segments_info"]] for a in content["annotations"]]
    assert [sum(flags) for flags in crowds] == [0, 1, 0]
    (crowd,) = [s for s in content["annotations"][1]["segments_info"] if s["iscrowd"]]
    assert (crowd["id"], crowd["category_id"], crowd["area"]) == (70000, 8, 64)
    assert content["images"] == [
        {"id": 40, "file_name": "0.png", "height": 20, "width": 32},
        {"id": 41, "file_name": "deep/1.png", "height": 32, "width": 20},
        {"id": 42, "file_name": "2.png", "height": 24, "width": 24},
    ]
    assert content["info"]["description"] == f"{name}, with pseudo-labels for stuff by detr_d2"


def test_files_that_disagree_are_skipped_by_name_with_the_reason(crates, tmp_path):
    Image.new("RGB", (32, 20)).save(tmp_path / "images/2.png")
    Image.new("RGB", (19, 32)).save(tmp_path / "images/deep/1.png")
    ids = np.zeros((20, 32), np.int32)
    ids[0, :3] = 70000, 9, 5
    write_id_png(tmp_path / "panoptic/0.png", ids)
    cfg, name = colour_cfg(tmp_path), crates()
    with pytest.raises(ValueError, match=r"^no image could be labelled: 0\.png: .*; 2\.png: .*"):
        label_stuff(cfg, [name], tmp_path / "out", batch=3)
    Image.new("RGB", (24, 24)).save(tmp_path / "images/2.png")
    report = label_stuff(cfg, [name], tmp_path / "out", batch=3)
    assert report.images == 1
    reasons = {item.name: item.reason for item in report.skipped}
    assert list(reasons) == ["0.png", "deep/1.png"]
    assert "panoptic/0.png: ids [5, 9] are not in the JSON" in reasons["0.png"]
    assert "deep/1.png is 19x32 pixels, its masks" in reasons["deep/1.png"]
    assert reasons["deep/1.png"].endswith("1.png 20x32")


def test_custom_classes_are_there_without_segments_and_those_of_the_model_only_with(
    tmp_path, register
):
    """The only image has no crate, and so nothing red that were a truck."""
    name = register(**write_crates(tmp_path, 1))
    cfg = colour_cfg(tmp_path)
    # A model's classes may be those of its test set.
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), cfg.DATASETS.TRAIN
    report = label_stuff(cfg, [name], tmp_path / "out", images="copy", review=0)
    assert report.segments == {"crate": 0, "sky": 1, "soil": 1}
    assert not (tmp_path / "out/review").exists()
    assert not (tmp_path / "out/images/0.png").samefile(tmp_path / "images/0.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"review": -1}, "review -1, must be 0 or more"), ({"images": "move"}, "move")],
)
def test_wrong_options_are_named_before_the_work(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        label_stuff(colour_cfg(tmp_path), ["nowhere"], tmp_path / "out", **options)


def test_sets_of_other_classes_or_none_are_not_labelled_together(crates, tmp_path):
    name = crates()
    other = {**crates.content, "categories": [{**crates.content["categories"][0], "name": "box"}]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    paths = {"image_root": tmp_path / "images", "panoptic_root": tmp_path / "panoptic"}
    register_dataset("test_other", **paths, panoptic_json=tmp_path / "other.json")
    try:
        assert [c.name for c in custom_categories([name]).categories] == ["crate"]
        with pytest.raises(ValueError, match=f"test_other has other classes than {name}; label"):
            custom_categories([name, "test_other"])
    finally:
        DatasetCatalog.remove("test_other")
        MetadataCatalog.remove("test_other")
    with pytest.raises(ValueError, match="coco_2017_val: no COCO-panoptic set; register it with"):
        custom_categories(["coco_2017_val"])


def test_names_that_differ_in_the_extension_only_are_rejected(crates, tmp_path, monkeypatch):
    """Sets of this package never have them; those of others may."""
    name = crates()
    assert [task.png for task in images_of([name])] == ["0.png", "deep/1.png", "2.png"]
    records = DatasetCatalog.get(name)
    for record, file in zip(records, ("2.jpg", "2.bmp"), strict=False):
        record["file_name"] = str(tmp_path / "images" / file)
    monkeypatch.setattr(DatasetCatalog, "get", lambda _: records)
    with pytest.raises(ValueError, match=rf"2\.bmp and .*2\.jpg of {name} differ in their ext"):
        images_of([name])


def grow(path):
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(0, 0))


def touch(path):
    os.utime(path, ns=(0, 1))


@pytest.mark.parametrize("change", [grow, touch])
@pytest.mark.parametrize("file", ["a.jpg", "a.png"])
def test_every_input_decides_the_fingerprint(tmp_path, file, change):
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, ns=(0, 0))
    record = {"file_name": str(tmp_path / "a.jpg"), "pan_seg_file_name": str(tmp_path / "a.png")}
    task = LabelTask("mine", {**record, "segments_info": []}, "a.jpg")
    before = fingerprint_of([task], {"a": 1, "b": 2})
    assert fingerprint_of([task], {"b": 2, "a": 1}) == before
    others = [
        fingerprint_of([task], {"a": 1, "b": 3}),
        fingerprint_of([LabelTask("mine", task.record, "b.jpg")], {"a": 1, "b": 2}),
        fingerprint_of(
            [LabelTask("mine", {**record, "segments_info": [{"id": 1}]}, "a.jpg")], {"a": 1, "b": 2}
        ),
        fingerprint_of([], {"a": 1, "b": 2}),
    ]
    change(tmp_path / file)
    others.append(fingerprint_of([task], {"a": 1, "b": 2}))
    assert len({before, *others}) == 6


@pytest.mark.parametrize(
    ("changes", "matters"),
    [
        (["MODEL.DEVICE", "cuda"], False),
        (["SOLVER.MAX_ITER", 7], False),
        (["MODEL.PIXEL_MEAN", [1.0, 2.0, 3.0]], True),
        (["INPUT.MIN_SIZE_TEST", 64], True),
        ([], True),
    ],
    ids=str,
)
def test_what_of_a_model_decides_its_labels(tmp_path, changes, matters):
    """Where no key changes, the weights are other ones, of the same size."""
    cfg = colour_cfg(tmp_path)
    before = _model_settings(cfg)
    cfg.merge_from_list(changes)
    if not changes:
        os.utime(cfg.MODEL.WEIGHTS, ns=(0, 0))
    assert (_model_settings(cfg) != before) == matters
