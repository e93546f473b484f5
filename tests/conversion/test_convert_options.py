"""What a conversion passes on, counts, and takes up again where it was stopped."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from class_maps import convert_class_maps, write_class_maps
from converted_sets import Result

from detr_d2.conversion import convert, workers
from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.splits import Split


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six images of 12 to 17 rows and 20 columns, with nuts of 40, 60, ... pixels."""
    write_class_maps(tmp_path, 6)
    return tmp_path


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize(("options", "linked"), [({}, True), ({"images": "copy"}, False)])
def test_images_are_linked_unless_copies_are_wanted(source, options, linked):
    convert_class_maps(source, source / "out", **options)
    for name in ("0.jpg", "5.jpg"):
        assert os.path.samefile(source / "images" / name, source / "out/images" / name) == linked


@pytest.mark.parametrize("dry_run", [False, True])
def test_another_mode_is_told_before_anything_is_written(source, dry_run):
    with pytest.raises(ValueError, match="images 'move', allowed"):
        convert_class_maps(source, source / "out", images="move", dry_run=dry_run)
    assert sorted(os.listdir(source)) == ["images", "masks"]


@pytest.mark.parametrize("workers", [1, 2])
def test_images_and_annotations_are_in_the_order_of_names(source, workers):
    convert_class_maps(source, source / "out", workers=workers)
    content = read(source / "out/panoptic.json")
    assert [image["file_name"] for image in content["images"]] == [f"{i}.jpg" for i in range(6)]
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4, 5, 6]
    assert [(i["height"], i["width"]) for i in content["images"][:2]] == [(12, 20), (13, 20)]
    assert [a["image_id"] for a in content["annotations"]] == [1, 2, 3, 4, 5, 6]
    assert content["info"] == {"description": "converted by detr_d2"}


def test_every_part_has_its_own_json(source):
    report = convert_class_maps(source, source / "out", split=Split(0.7, seed=2))
    assert report.parts == {"train": 4, "val": 2}
    found = {}
    for part in ("train", "val"):
        content = read(source / f"out/panoptic_{part}.json")
        assert content["info"] == {"description": f"converted by detr_d2 {part}"}
        found[part] = [image["id"] for image in content["images"]]
        assert [a["image_id"] for a in content["annotations"]] == found[part]
        assert len(found[part]) == report.parts[part]
    assert sorted(found["train"] + found["val"]) == [1, 2, 3, 4, 5, 6]
    assert not (source / "out/panoptic.json").exists()


def test_the_report_is_what_was_returned_with_fingerprint_and_format(source):
    (source / "images/3.jpg").write_bytes(b"no image")
    (source / "masks/1.png").unlink()
    report = convert_class_maps(source, source / "out")
    content = read(source / "out/conversion.json")
    assert content.pop("annotation_format") == "semantic-png"
    assert len(content.pop("fingerprint")) == 64
    assert content == asdict(report)
    assert (report.images_in, report.images_out) == (5, 4)
    # What the format has skipped comes with what could not be read.
    names = [Path(skipped.name).name for skipped in report.skipped]
    assert names == ["1.jpg", "3.jpg"]


def test_progress_is_told_image_by_image(source):
    (source / "images/3.jpg").write_bytes(b"no image")
    told: list[tuple[int, int]] = []
    convert_class_maps(source, source / "out", progress=lambda *counts: told.append(counts))
    assert told == [(number, 6) for number in range(1, 7)]
    told.clear()
    dry = {"dry_run": True, "progress": lambda *counts: told.append(counts)}
    convert_class_maps(source, source / "dry", **dry)
    assert told == [(number, 6) for number in range(1, 7)]


def stop_at(monkeypatch, png: str) -> None:
    """Let the conversion stop as it writes this PNG."""
    write = workers.write_id_png

    def stop(path, ids):
        if path.name == png:
            raise KeyboardInterrupt
        write(path, ids)

    monkeypatch.setattr(workers, "write_id_png", stop)


def interrupt(source, monkeypatch, **options) -> None:
    stop_at(monkeypatch, "4.png")
    with pytest.raises(KeyboardInterrupt):
        convert_class_maps(source, source / "out", **options)
    monkeypatch.undo()


def written_again(source, monkeypatch, **options) -> list[str]:
    """Convert; the PNGs that were written."""
    names, write = [], workers.write_id_png
    monkeypatch.setattr(
        workers, "write_id_png", lambda path, ids: (names.append(path.name), write(path, ids))
    )
    convert_class_maps(source, source / "out", **options)
    monkeypatch.undo()
    return names


def test_an_image_that_was_unreadable_is_tried_again(source, monkeypatch):
    """As where a disk was away for a moment: neither size nor time of the file has changed."""
    inspect = workers.inspect_image

    def away(path):
        if Path(path).name == "2.jpg":
            raise workers.UnreadableError(f"{path}: not readable")
        return inspect(path)

    monkeypatch.setattr(workers, "inspect_image", away)
    interrupt(source, monkeypatch)
    told: list[tuple[int, int]] = []
    again = written_again(source, monkeypatch, progress=lambda *counts: told.append(counts))
    assert again == ["2.png", "4.png", "5.png"]
    # Three were done before.
    assert told == [(4, 6), (5, 6), (6, 6)]
    report = read(source / "out/conversion.json")
    assert (report["images_in"], report["images_out"], report["skipped"]) == (6, 6, [])
    assert report["segments"] == {"ground": 6, "nut": 6}
    assert len(Result(source / "out", None).images) == 6


@pytest.mark.parametrize(
    "options",
    [
        {"images": "copy"},
        {"rules": Rules(min_area=3)},
        {"base_categories": [{"id": 1, "name": "nut", "isthing": 1}]},
        {"split": Split(0.5)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_with_other_arguments_it_starts_anew(source, monkeypatch, options):
    interrupt(source, monkeypatch)
    assert len(written_again(source, monkeypatch, **options)) == 6
    interrupt(source, monkeypatch, **options)
    assert written_again(source, monkeypatch, **options) == ["4.png", "5.png"]


def test_rules_decide_and_the_format_completes_them(source):
    folders = {name: str(source / name) for name in ("images", "masks")}
    arguments = {**folders, "values": "0=ground,1=nut", "things": ("nut",)}
    kept = convert_set(open_format("semantic-png", **arguments), source / "out")
    assert kept.segments == {"nut": 6, "ground": 6}
    # Nuts of 40 and 60 pixels are too small, and become the background again.
    rules = Rules(min_area=61, background_class="rest")
    fewer = convert_set(open_format("semantic-png", **arguments), source / "out", rules=rules)
    assert fewer.segments == {"nut": 4, "ground": 6, "rest": 0}
    assert fewer.lost_annotations == {"smaller than min_area": {"nut": 2}}
    unlabelled = {**arguments, "values": "1=nut", "background": (0,)}
    filled = convert_set(open_format("semantic-png", **unlabelled), source / "out", rules=rules)
    assert filled.segments == {"nut": 4, "rest": 6}
    none = open_format("semantic-png", **arguments)
    none.default_things = "void"
    assert convert_set(none, source / "out").segments == {"nut": 0, "ground": 6}


@pytest.mark.parametrize("dry_run", [False, True])
def test_nothing_to_convert_says_what_was_skipped(source, dry_run):
    for path in (source / "masks").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(
        ValueError, match=r"semantic-png: no image with annotation found; 12 skipped\n  6 x "
    ):
        convert_class_maps(source, source / "out", dry_run=dry_run)
    for count, what in ((0, "image with annotation"), (1, "annotation with a class")):
        images = [{"id": 0, "file_name": "0.jpg", "height": 12, "width": 20}] * count
        content = {"images": images, "annotations": [], "categories": []}
        (source / "a.json").write_text(json.dumps(content))
        folders = {"annotations": str(source / "a.json"), "images": str(source / "images")}
        empty = open_format("coco-json", **folders)
        with pytest.raises(ValueError, match=f"coco-json: no {what} found; [56] skipped"):
            convert_set(empty, source / "out", dry_run=dry_run)
    assert not (source / "out").exists()


def test_where_no_image_is_readable_the_earlier_result_stays(source):
    convert_class_maps(source, source / "out")
    before = (source / "out/conversion.json").read_bytes()
    for path in (source / "images").iterdir():
        path.unlink()
        path.write_bytes(b"no image")
    with pytest.raises(
        ValueError, match=r"semantic-png: no image could be .*6 skipped\n  6 x 0\.jpg"
    ):
        convert_class_maps(source, source / "out")
    assert (source / "out/conversion.json").read_bytes() == before
    failed = read(source / "out.failed.json")
    assert (failed["images_in"], len(failed["skipped"])) == (6, 6)
    assert not (source / ".out.partial").exists()


def test_a_conversion_without_images_of_a_dry_run_is_a_report(source):
    for path in (source / "images").iterdir():
        path.write_bytes(b"no image")
    report = convert_class_maps(source, source / "out", dry_run=True)
    assert (report.images_in, report.images_out, report.void_share) == (6, 0, 0.0)
    assert not (source / "out").exists() and not (source / "out.failed.json").exists()


def test_images_of_one_name_in_two_folders(source, monkeypatch):
    """The result names them by their folders, the split and the journal by their own names."""
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        for place in ("site a", "site b"):
            (source / folder / place).mkdir()
            for number in range(3):
                old = number + 3 * (place == "site b")
                (source / folder / f"{old}.{suffix}").rename(
                    source / folder / place / f"{number}.{suffix}"
                )
    split = Split(0.5, group="^(.*)/")
    stop_at(monkeypatch, "site b__1.png")
    with pytest.raises(KeyboardInterrupt):
        convert_class_maps(source, source / "out", split=split)
    monkeypatch.undo()
    again = written_again(source, monkeypatch, split=split)
    assert again == ["site b__1.png", "site b__2.png"]
    found = [
        [image["file_name"] for image in read(source / f"out/panoptic_{part}.json")["images"]]
        for part in ("train", "val")
    ]
    assert sorted(found) == [[f"site {c}__{i}.jpg" for i in range(3)] for c in "ab"]


def test_the_number_of_workers_is_passed_on(source, monkeypatch):
    found, real = [], convert.convert_images
    monkeypatch.setattr(
        convert, "convert_images", lambda *rest: (found.append(rest[2]), real(*rest[:2], 1))[1]
    )
    convert_class_maps(source, source / "out", workers=7)
    convert_class_maps(source, source / "out", workers=5, dry_run=True)
    convert_class_maps(source, source / "other")
    assert found == [7, 5, 1]
