"""The check finds what is wrong, and the repaired copy has nothing wrong."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records
from detr_d2.data.coco_writer import write_id_png
from detr_d2.utils.files import read_json, write_json
from detr_d2.validation.check import Checker, SetFiles, check_together, find_near_duplicates
from detr_d2.validation.findings import Page
from detr_d2.validation.repair import repair_sets


def files_of(tiny_set) -> SetFiles:
    paths = {key: str(value) for key, value in tiny_set.paths().items()}
    return SetFiles(paths["panoptic_json"], paths["image_root"], paths["panoptic_root"])


def kinds(tiny_set, **options) -> set[str]:
    return {f.kind for f in Checker(files_of(tiny_set), **options).run() if f.severity != "note"}


def first(tiny_set) -> list[dict]:
    return tiny_set.content["annotations"][0]["segments_info"]


def wrong_area(s):
    first(s)[0]["area"] += 1


def wrong_box(s):
    first(s)[2]["bbox"][0] += 1


def id_only_in_png(s):
    del first(s)[2]


def id_only_in_json(s):
    first(s).append({"id": 99, "category_id": 9, "iscrowd": 0, "area": 3, "bbox": [0, 0, 1, 3]})


def unknown_category(s):
    first(s)[0]["category_id"] = 1


def id_zero(s):
    first(s)[0]["id"] = 0


def stuff_twice(s):
    first(s)[0]["category_id"] = 40


def grey_png(s):
    Image.fromarray((s.id_maps["b"] % 256).astype(np.uint8)).save(s.root / "panoptic/b.png")


def cut_png(s):
    path = s.root / "panoptic/b.png"
    path.write_bytes(path.read_bytes()[:-25])


def other_size(s):
    write_id_png(s.root / "panoptic/b.png", np.full((4, 4), 65536))


def size_in_json(s):
    s.content["images"][0]["height"] += 1


def image_gone(s):
    (s.root / "images/a.jpg").unlink()


def image_without_record(s):
    del s.content["annotations"][1]


def record_without_image(s):
    del s.content["images"][0]


def category_twice(s):
    s.content["categories"] = [*s.content["categories"], s.content["categories"][0]]


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (wrong_area, "wrong area"),
        (wrong_box, "wrong box"),
        (id_only_in_png, "id not in the JSON"),
        (id_only_in_json, "id not in the PNG"),
        (unknown_category, "unknown category"),
        (id_zero, "segment id 0"),
        (stuff_twice, "stuff in several segments"),
        (grey_png, "PNG not RGB"),
        (cut_png, "unreadable PNG"),
        (other_size, "wrong size"),
        (size_in_json, "wrong size"),
        (image_gone, "missing image"),
        (image_without_record, "image without record"),
        (record_without_image, "record without image"),
        (category_twice, "duplicate category id"),
    ],
)
def test_every_fault_is_found_and_repaired(tiny_set, tmp_path, harm, kind):
    assert kinds(tiny_set) == set()
    harm(tiny_set)
    tiny_set.write()
    assert kind in kinds(tiny_set)

    skipped = repair_sets([files_of(tiny_set)], tmp_path / "repaired")

    repaired = SetFiles(
        str(tmp_path / "repaired/panoptic.json"),
        str(tiny_set.root / "images"),
        str(tmp_path / "repaired/panoptic"),
    )
    assert {f.kind for f in Checker(repaired).run() if f.severity == "error"} == set()
    assert len(skipped) == (harm in (cut_png, other_size, image_gone, record_without_image))


def test_a_segment_of_id_zero_gets_its_pixels(tiny_set, tmp_path):
    """The void pixels of "a" are the 16 of its last column."""
    first(tiny_set).append({"id": 0, "category_id": 9, "iscrowd": 0, "area": 16})
    tiny_set.write()
    repair_sets([files_of(tiny_set)], tmp_path / "repaired")
    checker = Checker(
        SetFiles(
            str(tmp_path / "repaired/panoptic.json"),
            str(tiny_set.root / "images"),
            str(tmp_path / "repaired/panoptic"),
        )
    )
    assert [f for f in checker.run() if f.severity == "error"] == []
    assert checker.counts[9] == 2


def test_queries_tiny_segments_and_rare_classes(tiny_set):
    found = kinds(tiny_set, queries=3, tiny=16)
    assert found == {"more segments than queries", "tiny segment"}


def test_images_that_look_alike_across_parts():
    train, val = {"a": 0b1111, "b": 0}, {"c": 0b1110 << 40, "d": 0b0111}
    (finding,) = find_near_duplicates({"train": train, "val": val}, 1)
    assert "a of train" in finding.file
    assert "d of val" in finding.found


def test_a_page_is_sorted_by_severity_and_stays_short(tiny_set):
    for _ in range(9):
        id_only_in_json(tiny_set)
    wrong_area(tiny_set)
    tiny_set.write()
    page = Page(shown=2)
    page.add(Checker(files_of(tiny_set)).run())
    lines = str(page).splitlines()
    assert lines[0].startswith(f"{page.count('error')} errors, ")
    heads = [line.split()[0] for line in lines[1:] if not line.startswith(" ")]
    assert heads == sorted(heads, key=("ERROR", "WARNING", "NOTE").index)
    assert "    ... and 7 more" in lines
    assert any("wrong area" in line for line in lines)


@pytest.fixture
def parts(tiny_set) -> list[SetFiles]:
    """The tiny set as two JSONs beside each other: a.jpg to train on, the others to test."""
    content, found = tiny_set.content, []
    for part, pngs in (("train", ["a.png"]), ("val", ["b.png", "empty.png"])):
        annotations = [a for a in content["annotations"] if a["file_name"] in pngs]
        ids = {a["image_id"] for a in annotations}
        images = [image for image in content["images"] if image["id"] in ids]
        path = tiny_set.root / f"panoptic_{part}.json"
        path.write_text(json.dumps({**content, "images": images, "annotations": annotations}))
        whole = files_of(tiny_set)
        found.append(SetFiles(str(path), whole.image_root, whole.panoptic_root))
    tiny_set.json_path.unlink()
    return found


def run_together(sets: list[SetFiles]) -> tuple[list, list]:
    """The findings of each alone, and of all together."""
    checkers = [Checker(files) for files in sets]
    alone = [finding for checker in checkers for finding in checker.run()]
    return alone, list(check_together(checkers))


def test_parts_of_a_set_do_not_miss_each_others_images(parts, tiny_set):
    alone, together = run_together(parts)
    assert "image not listed" not in {f.kind for f in alone}
    assert together == []
    # In neither of them.
    Image.new("RGB", (8, 6), (200, 10, 10)).save(tiny_set.root / "images/deep/more.png")
    _, (finding,) = run_together(parts)
    assert (finding.kind, finding.file) == ("image not listed", "deep/more.png")
    assert finding.found == "not in panoptic_train.json or panoptic_val.json"


def test_parts_of_a_set_have_the_same_categories(parts):
    content = read_json(parts[1].panoptic_json)
    content["categories"][0] = {**content["categories"][0], "name": "mud"}
    write_json(parts[1].panoptic_json, content)
    _, (finding,) = run_together(parts)
    assert (finding.severity, finding.kind) == ("error", "other categories")
    assert "mud" in finding.found and "soil" in finding.expected


def test_a_part_that_cannot_be_read_is_reported_alone(parts):
    with open(parts[1].panoptic_json, "w") as file:
        file.write("{")
    alone, together = run_together(parts)
    assert [f.kind for f in alone if f.severity == "error"] == ["unreadable JSON"]
    assert together == []


def test_parts_are_repaired_into_one_folder(parts, tiny_set, tmp_path):
    content = read_json(parts[0].panoptic_json)
    content["annotations"][0]["segments_info"][0]["area"] += 1
    write_json(parts[0].panoptic_json, content)
    steps = []
    target = tmp_path / "fixed"
    assert repair_sets(parts, target, lambda *step: steps.append(step)) == []
    assert steps == [(1, 3), (2, 3), (3, 3)]
    table = CategoryTable(content["categories"])
    for part, names in (("train", ["a.jpg"]), ("val", ["b.png", "empty.jpg"])):
        records = load_records(
            str(target / f"panoptic_{part}.json"),
            parts[0].image_root,
            str(target / "panoptic"),
            table,
        )
        assert [record["file_name"].split("/")[-1] for record in records] == names
        files = SetFiles(
            str(target / f"panoptic_{part}.json"), parts[0].image_root, str(target / "panoptic")
        )
        assert [f for f in Checker(files).run() if f.severity == "error"] == []


def test_empty_lists_are_said(tiny_set):
    tiny_set.content |= {"annotations": [], "images": []}
    tiny_set.write()
    found = {f.kind for f in Checker(files_of(tiny_set)).run()}
    assert found == {"no annotations", "class without segments"}


def test_faulty_entries_are_named_and_the_others_checked(tiny_set):
    tiny_set.content["images"].append({"id": 99})
    tiny_set.content["annotations"].append(5)
    first(tiny_set).append({"id": "x", "category_id": 9})
    tiny_set.write()
    checker = Checker(files_of(tiny_set))
    found = {f.kind for f in checker.run() if f.severity == "error"}
    assert found == {"malformed image", "malformed annotation", "malformed segment"}
    assert checker.total == 4
    assert checker.counts == {5: 1, 2: 2, 9: 1, 40: 2}
    assert checker.listed == set(checker.hashes) == {"a.jpg", "deep/er/b.png", "empty.jpg"}


@pytest.mark.parametrize(("size", "reported"), [(4, True), (5, False)])
def test_segments_of_fewer_than_five_pixels_are_reported_and_up_to_100_are_fine(
    tiny_set, size, reported
):
    """The pixels are void of "a", which has 4 segments and gets 97 that the PNG does not show."""
    ids = tiny_set.id_maps["a"]
    ids[:size, 23] = 77
    write_id_png(tiny_set.root / "panoptic/a.png", ids)
    first(tiny_set).append({"id": 77, "category_id": 9, "iscrowd": 0, "area": size})
    tiny_set.write()
    assert ("tiny segment" in kinds(tiny_set)) == reported
    first(tiny_set).extend({"id": 100 + i, "category_id": 9, "area": 1} for i in range(95))
    tiny_set.write()
    assert "more segments than queries" not in kinds(tiny_set)
    first(tiny_set).append({"id": 99, "category_id": 9, "area": 1})
    tiny_set.write()
    assert "more segments than queries" in kinds(tiny_set)


def test_sets_of_different_folders_are_no_parts_of_one(parts, tiny_set, tmp_path):
    """Other categories are right there; the same folder may be written in two ways."""
    content = read_json(parts[1].panoptic_json)
    content["categories"][0] = {**content["categories"][0], "isthing": 1}
    write_json(parts[1].panoptic_json, content)
    parts[0].image_root += "/../images"
    _, together = run_together(parts)
    assert [f.kind for f in together] == ["other categories"]
    shutil.copytree(tiny_set.root / "images", tmp_path / "elsewhere")
    parts[1].image_root = str(tmp_path / "elsewhere")
    _, together = run_together(parts)
    assert {f.kind for f in together} == {"image not listed"}
    assert len(together) == 3, "each folder has the other's images too"


def test_an_image_of_both_parts_is_a_duplicate(parts):
    checkers = [Checker(files) for files in parts]
    assert all(f.severity == "note" for checker in checkers for f in checker.run())
    assert list(check_together(checkers)) == []
    train, val = checkers
    val.hashes["deep/er/b.png"] = train.hashes["a.jpg"]
    (finding,) = check_together(checkers)
    assert (finding.severity, finding.kind) == ("warning", "near-duplicate across parts")
    assert finding.file == f"a.jpg of {parts[0].panoptic_json}"
    assert finding.found == f"looks like deep/er/b.png of {parts[1].panoptic_json}"


@pytest.mark.parametrize(("bits", "count"), [(3, 1), (4, 0)])
def test_three_bits_are_alike(bits, count):
    assert len(list(find_near_duplicates({"a": {"x": 0}, "b": {"y": 2**bits - 1}}))) == count
