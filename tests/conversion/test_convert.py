"""Whole conversions: faults, interruption, splits, classes that clash, workers."""

import errno
import functools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from converted_sets import Result, save_image, save_mask
from kills import run_and_kill

from detr_d2.conversion import workers
from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import AnnotationFormat, Skipped, open_format
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.report import describe_groups
from detr_d2.conversion.splits import Split

SIZE = (12, 16)


def write_set(root: Path, count: int = 6) -> Path:
    """Images 00.jpg.. with a square of value 1 that moves."""
    for number in range(count):
        values = np.zeros(SIZE, np.uint8)
        values[3:8, number % 8 : number % 8 + 5] = 1
        save_image(root / f"images/{number:02d}.jpg", SIZE, number)
        save_mask(root / f"masks/{number:02d}.png", values)
    return root


def semantic(root: Path, **options) -> AnnotationFormat:
    folders = {"images": str(root / "images"), "masks": str(root / "masks")}
    return open_format(
        "semantic-png", **folders, values="0=ground,1=box", things=("box",), **options
    )


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_set(tmp_path / "source")


def test_result_and_report(source, tmp_path):
    out = tmp_path / "out"
    report = convert_set(semantic(source), out)
    assert files_in(out) == sorted(
        ["classes.json", "conversion.json", "panoptic.json"]
        + [f"images/{i:02d}.jpg" for i in range(6)]
        + [f"panoptic/{i:02d}.png" for i in range(6)]
    )
    assert report.segments == {"box": 6, "ground": 6}
    assert (report.images_in, report.images_out, report.void_share) == (6, 6, 0.0)
    assert json.loads((out / "classes.json").read_text())[1] == {
        "source": 1, "source_name": "box", "id": 2, "name": "box", "isthing": 1,
    }  # fmt: skip
    assert not (tmp_path / ".out.partial").exists()


def test_counts_of_the_report(tmp_path):
    """12 x 16 pixels: in 00 two boxes and three small regions, in 01 one box; 02 is damaged."""
    source = write_set(tmp_path / "source", 3)
    values = np.full(SIZE, 0, np.uint8)
    values[1:5, 1:5] = values[1:5, 8:12] = 1
    values[8, 1:3] = values[8, 6:8] = values[10, 10] = 1
    # A quarter is void, and what is too small for a box is void too.
    values[:, 12:] = 255
    save_mask(source / "masks/00.png", values)
    values = np.full(SIZE, 1, np.uint8)
    values[:, :8] = 255
    save_mask(source / "masks/01.png", values)
    damage_png(source)
    convert_set(semantic(source, void=(255,)), tmp_path / "out")
    report = json.loads((tmp_path / "out/conversion.json").read_text())
    assert (report["images_in"], report["images_out"]) == (3, 2)
    assert report["segments"] == {"ground": 1, "box": 3}
    assert report["images_with"] == {"ground": 1, "box": 2}
    assert report["lost_annotations"] == {"smaller than min_area": {"box": 3}}
    # (48 + 5) of 192 pixels and 96 of 192, the mean of two images.
    assert report["void_share"] == pytest.approx((53 / 192 + 0.5) / 2, abs=1e-4)
    assert report["parts"] == {}
    assert [item["name"] for item in report["skipped"]] == ["02.jpg"]
    convert_set(semantic(source, void=(255,)), tmp_path / "parts", split=Split(0.5))
    report = json.loads((tmp_path / "parts/conversion.json").read_text())
    assert report["parts"] == {"train": 1, "val": 1}


def test_dry_run_counts_and_writes_nothing(source, tmp_path):
    report = convert_set(semantic(source), tmp_path / "out", dry_run=True, split=Split(0.5))
    assert report.segments == {"box": 6, "ground": 6}
    assert report.parts == {"train": 3, "val": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_workers_give_the_same_as_one_process(source, tmp_path):
    convert_set(semantic(source), tmp_path / "one")
    convert_set(semantic(source), tmp_path / "two", workers=2)
    for name in files_in(tmp_path / "one"):
        if name != "conversion.json":
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def damage_png(root: Path) -> None:
    path = root / "masks/02.png"
    path.write_bytes(path.read_bytes()[:-30])


def damage_jpeg(root: Path) -> None:
    path = root / "images/02.jpg"
    path.write_bytes(path.read_bytes()[:200])


def no_jpeg(root: Path) -> None:
    (root / "images/02.jpg").write_bytes(b"not an image")


def other_size(root: Path) -> None:
    save_mask(root / "masks/02.png", np.zeros((5, 5), np.uint8))


def other_value(root: Path) -> None:
    save_mask(root / "masks/02.png", np.full(SIZE, 77, np.uint8))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (damage_png, "masks/02.png: not readable as a mask"),
        (damage_jpeg, "images/02.jpg: not readable as an image"),
        (no_jpeg, "images/02.jpg: not readable as an image"),
        (other_size, "masks/02.png: 5x5 pixels, but its image has 16x12"),
        (other_value, "masks/02.png: pixel values 77 are no declared class"),
    ],
)
def test_one_bad_file_is_named_and_skipped(source, tmp_path, damage, named):
    damage(source)
    report = convert_set(semantic(source), tmp_path / "out")
    (item,) = report.skipped
    assert item.name == "02.jpg"
    assert named in item.reason
    assert report.images_out == 5
    assert not [name for name in files_in(tmp_path / "out") if "02" in name]


def test_a_trailing_comma_is_told_with_file_and_line(tmp_path):
    save_image(tmp_path / "a.jpg", SIZE)
    path = tmp_path / "coco.json"
    path.write_text('{"images": [],\n "annotations": [1,],\n "categories": []}')
    with pytest.raises(ValueError, match=r"coco\.json: not valid JSON \(.*line 2 column"):
        open_format("coco-json", annotations=str(path), images=str(tmp_path))
    (tmp_path / "a.json").write_text('{"shapes": [],}')
    annotation_format = open_format("labelme", folder=str(tmp_path))
    assert any(
        "a.json" in item.name and "line 1" in item.reason for item in annotation_format.skipped
    )


def test_a_category_that_nobody_declared(tmp_path):
    save_image(tmp_path / "a.jpg", SIZE)
    image = {"id": 0, "file_name": "a.jpg", "height": 12, "width": 16}
    shape = {"id": 5, "image_id": 0, "category_id": 9, "segmentation": [[0, 0, 4, 0, 4, 4]]}
    content = {"images": [image], "annotations": [shape], "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    annotation_format = open_format(
        "coco-json", annotations=str(tmp_path / "coco.json"), images=str(tmp_path)
    )
    with pytest.raises(ValueError, match=r"coco\.json: annotation 5 of a\.jpg has category_id 9"):
        convert_set(annotation_format, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.partial").exists()
    failed = json.loads((tmp_path / "out.failed.json").read_text())
    assert failed["images_out"] == 0
    assert [item["name"] for item in failed["skipped"]] == ["a.jpg"]


def test_what_was_skipped_is_grouped_by_reason():
    many = [Skipped(f"{n}.jpg", f"/data/m{n}.png: {n}x5 pixels, but its image") for n in range(40)]
    lines = describe_groups([Skipped("b.jpg", "image not found below /data"), *many])
    assert lines == [
        "40 x 0.jpg: /data/m0.png: 0x5 pixels, but its image",
        "1 x b.jpg: image not found below /data",
    ]


def test_a_full_disk_stops_and_the_rest_follows_later(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    convert_set(semantic(source), out)
    before = (out / "conversion.json").read_bytes()
    save_mask(source / "masks/00.png", np.ones(SIZE, np.uint8))
    written, write = [], workers.write_id_png

    def full(path, ids):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        write(path, ids)

    monkeypatch.setattr(workers, "write_id_png", full)
    with pytest.raises(OSError, match=r"No space left on device: .*03\.png"):
        convert_set(semantic(source), out)
    assert (out / "conversion.json").read_bytes() == before
    done = (tmp_path / ".out.partial/new/done.jsonl").read_text()
    assert done.count("\n") == 3

    # The last line was cut short: that image is converted again, the two others are not.
    (tmp_path / ".out.partial/new/done.jsonl").write_text(done[:-20])
    again = []
    monkeypatch.setattr(
        workers, "write_id_png", lambda p, ids: (again.append(p.name), write(p, ids))
    )
    convert_set(semantic(source), out)
    assert again == ["02.png", "03.png", "04.png", "05.png"]
    assert Result(out, None).segments("00.jpg")[0]["area"] == 12 * 16
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "source"]


def test_a_killed_conversion_leaves_the_earlier_result_and_goes_on(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    convert_set(semantic(source), out)
    save_mask(source / "masks/00.png", np.ones(SIZE, np.uint8))
    write = workers.write_id_png

    def stop_at_the_fourth(path, ids):
        if path.name == "03.png":
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, ids)

    monkeypatch.setattr(workers, "write_id_png", stop_at_the_fourth)
    run_and_kill(functools.partial(convert_set, semantic(source), out), tmp_path, -1)
    monkeypatch.undo()
    journal = tmp_path / ".out.partial/new/done.jsonl"
    assert journal.read_text().count("\n") == 3
    assert Result(out, None).segments("00.jpg")[0]["area"] < 12 * 16
    convert_set(semantic(source), out)
    assert Result(out, None).segments("00.jpg")[0]["area"] == 12 * 16
    assert not journal.exists()


def test_a_folder_of_someone_else_is_not_replaced(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="no conversion has written it"):
        convert_set(semantic(source), tmp_path / "out")
    assert files_in(tmp_path / "out") == ["thesis.tex"]


def test_split_keeps_groups_together(source, tmp_path):
    write_set(source, 12)
    split = Split(0.5, seed=3, group=r"^(\d)")
    report = convert_set(semantic(source), tmp_path / "out", split=split)
    names = {}
    for part in ("train", "val"):
        content = json.loads((tmp_path / f"out/panoptic_{part}.json").read_text())
        names[part] = {image["file_name"] for image in content["images"]}
    assert report.parts == {part: len(found) for part, found in names.items()}
    tens = {"10.jpg", "11.jpg"}
    assert any(tens == found for found in names.values())
    assert names["train"] | names["val"] == {f"{i:02d}.jpg" for i in range(12)}


def test_clashes_with_another_list_get_new_ids_and_the_mapping_is_written(source, tmp_path):
    coco = [{"id": 1, "name": "person", "isthing": 1}, {"id": 90, "name": "box", "isthing": 1}]
    convert_set(semantic(source), tmp_path / "out", base_categories=coco)
    names = Result(tmp_path / "out", None).names
    assert names == {1: "person", 90: "box", 91: "ground", 92: "box_2"}
    mapping = json.loads((tmp_path / "out/classes.json").read_text())
    assert [(m["source"], m["source_name"], m["id"], m["name"]) for m in mapping] == [
        (0, "ground", 91, "ground"),
        (1, "box", 92, "box_2"),
    ]


def test_the_background_class_cannot_be_a_thing(source, tmp_path):
    with pytest.raises(ValueError, match="background class 'box' is a thing"):
        convert_set(semantic(source), tmp_path / "out", rules=Rules(background_class="box"))
