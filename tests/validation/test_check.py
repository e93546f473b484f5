"""The check finds what is wrong, and the repaired copy has nothing wrong."""

import json

import numpy as np
import pytest
from PIL import Image

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records
from detr_d2.data.coco_writer import write_id_png
from detr_d2.utils.files import read_json, write_json
from detr_d2.validation.check import Checker, SetFiles, check_together, find_near_duplicates
from detr_d2.validation.check_json import check_balance, check_segments
from detr_d2.validation.findings import Finding, Page
from detr_d2.validation.repair import renumber_segments, repair_sets


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


def crowd_of_two(s):
    first(s)[1]["iscrowd"] = 2


def image_twice(s):
    """The later entry counts for nothing in the repair."""
    s.content["images"].append({**s.content["images"][2], "file_name": "absent.jpg"})


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
        (crowd_of_two, "faulty iscrowd"),
        (image_twice, "duplicate image"),
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


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (wrong_area, "panoptic/a.png: segment 5 area 213; 212"),
        (wrong_box, "panoptic/a.png: segment 70000 bbox [5, 8, 6, 5]; [4, 8, 6, 5]"),
        (id_only_in_png, "a.png: id 70000 30 pixels in the PNG; an entry in segments_info"),
        (id_only_in_json, "panoptic/a.png: segment 99 no pixel; no entry without pixels"),
        (unknown_category, "a.png: segment 5 category_id 1; one of [2, 5, 9, 40]"),
        (stuff_twice, "a.png: stuff 'soil' has 2 segments; one segment a class of stuff"),
        (grey_png, "panoptic/b.png: image mode L; RGB, id = R + 256 G + 65536 B"),
        (other_size, "panoptic/b.png: 4x4 pixels; the JSON says 14x20"),
        # The list of images is the reverse of that of the annotations: empty.jpg is the first.
        (size_in_json, "images/empty.jpg: the JSON says 12x11; the image has 12x10"),
        (size_in_json, "panoptic/empty.png: 12x10 pixels; the JSON says 12x11"),
        (image_gone, "images/a.jpg: not there; an image"),
        (image_without_record, "deep/er/b.png: no annotation; an annotation, with an empty segm"),
        (record_without_image, "empty.png: image_id 9 is not among the images; an image entry"),
        (crowd_of_two, "panoptic/a.png: segment 300 iscrowd 2; 0 or 1"),
        (image_twice, "panoptic.json: 2 images have the id 7; one of each"),
        (category_twice, "panoptic.json: 2 categories have the id 40; every category has a id"),
    ],
)
def test_a_finding_names_the_file_and_what_it_should_be(tiny_set, harm, line):
    harm(tiny_set)
    tiny_set.write()
    found = [str(finding) for finding in Checker(files_of(tiny_set)).run()]
    assert any(line in text for text in found), found


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


def test_the_repair_numbers_by_the_pixels_and_drops_what_cannot_be_used():
    ids = np.array([[0, 0, 5, 5, 5], [8, 8, 8, 6, 7], [9, 9, 4, 3, 3]])
    listed = [
        segment(0, SKY, area=1),  # void has two pixels
        segment(8, CRATE, iscrowd=1),
        segment(5, SKY),
        {"id": 9, "category_id": "7"},  # no area, and no number
        segment(4, 66),  # of no category
        segment(6, SKY, iscrowd=1),  # the same stuff again, which is no crowd
        segment(7, CRATE),
        segment(8, SKY),  # listed before
        segment(77, CRATE),  # without pixels
        segment(3, CRATE),
    ]
    found, segments = renumber_segments(ids, listed, {SKY: False, CRATE: True})
    assert found.tolist() == [[0, 0, 2, 2, 2], [1, 1, 1, 2, 3], [0, 0, 0, 5, 5]]
    assert [(s["id"], s["category_id"], s["iscrowd"], s["area"]) for s in segments] == [
        (1, CRATE, 1, 3),
        (2, SKY, 0, 4),
        (3, CRATE, 0, 1),
        (5, CRATE, 0, 2),
    ]
    assert segments[1]["bbox"] == [2, 0, 3, 2]


SKY, CRATE = 7, 20


def segment(number, category, area=9, iscrowd=0):
    return {"id": number, "category_id": category, "area": area, "iscrowd": iscrowd}


def test_what_is_skipped_in_a_repair_is_named_with_the_reason(tiny_set, tmp_path):
    # As high as its image, but narrower.
    write_id_png(tiny_set.root / "panoptic/b.png", np.full((20, 4), 65536))
    image_gone(tiny_set)
    annotations = tiny_set.content["annotations"]
    annotations += [{**annotations[2], "image_id": 99}, {**annotations[2]}]
    tiny_set.write()
    found = {(s.name, s.reason) for s in repair_sets([files_of(tiny_set)], tmp_path / "repaired")}
    names = {name: reason for name, reason in found if name != "empty.png"}
    assert names["b.png"] == "(20, 4) pixels, its image has (20, 14)"
    assert "images/a.jpg: not readable" in names["a.png"]
    assert {reason for name, reason in found if name == "empty.png"} == {
        "malformed, or no image entry of its own",
        "empty.png: an earlier annotation has its image or its PNG",
    }
    content = read_json(tmp_path / "repaired/panoptic.json")
    assert [image["file_name"] for image in content["images"]] == ["empty.jpg"]


def test_the_repair_takes_the_size_of_the_image_and_never_a_folder_with_files(tiny_set, tmp_path):
    size_in_json(tiny_set)
    tiny_set.write()
    repair_sets([files_of(tiny_set)], tmp_path / "repaired")
    images = read_json(tmp_path / "repaired/panoptic.json")["images"]
    assert {i["file_name"]: (i["height"], i["width"]) for i in images} == {
        "a.jpg": (16, 24),
        "deep/er/b.png": (20, 14),
        "empty.jpg": (10, 12),
    }
    with pytest.raises(FileExistsError, match="repaired is not empty; choose another folder"):
        repair_sets([files_of(tiny_set)], tmp_path / "repaired")


def test_queries_tiny_segments_and_rare_classes(tiny_set):
    found = kinds(tiny_set, queries=3, tiny=16)
    assert found == {"more segments than queries", "tiny segment"}
    # The smallest is the pipe, of 15 pixels; the first image has 4 segments.
    assert kinds(tiny_set, queries=4, tiny=15) == set()


def test_crowds_of_stuff_beside_it_are_no_second_segment():
    categories = {SKY: {"name": "sky", "isthing": 0}}
    crowd, pieces = segment(2, SKY, iscrowd=1), [segment(1, SKY), segment(3, SKY)]
    assert list(check_segments("a.png", [pieces[0], crowd], categories, 9)) == []
    (finding,) = check_segments("a.png", [crowd, *pieces], categories, 9)
    assert finding.found == "stuff 'sky' has 2 segments"


def test_a_class_is_rare_below_a_hundredth_of_the_most_frequent():
    classes = {i: {"name": name} for i, name in enumerate(("nut", "bolt", "nail", "wall"))}
    found = check_balance("p.json", classes, {0: 200, 1: 2, 2: 1})
    assert [(f.severity, f.kind, f.item, f.found) for f in found] == [
        ("warning", "rare class", "id 2", "class 'nail' has 1 segments, another 200"),
        ("note", "class without segments", "id 3", "class 'wall' never occurs"),
    ]


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


def test_a_page_has_the_first_of_each_kind_the_most_frequent_first():
    page = Page(shown=2)
    kinds_found = ("rare class", "tiny segment", "tiny segment", "tiny segment", "tiny segment")
    page.add(
        Finding("warning", kind, f"{n}.png", "", "small", "larger")
        for n, kind in enumerate(kinds_found)
    )
    assert str(page).splitlines() == [
        "0 errors, 5 warnings, 0 notes",
        "WARNING tiny segment (4)",
        "    1.png: small; larger",
        "    2.png: small; larger",
        "    ... and 2 more",
        "WARNING rare class (1)",
        "    0.png: small; larger",
    ]


def test_a_malformed_entry_is_named_with_its_file(tiny_set):
    tiny_set.content["images"].append({"id": None, "file_name": 5})
    first(tiny_set).append({"id": "x", "category_id": 9, "area": 1})
    tiny_set.write()
    found = [str(f) for f in Checker(files_of(tiny_set)).run() if f.kind.startswith("malformed")]
    path = tiny_set.json_path
    assert found == [
        f"{path}: image 3: id is None; a number or a text",
        f"{path}: image 3: file_name is 5; a text",
        f"{tiny_set.root / 'panoptic/a.png'}: segment 4: id is 'x'; an integer",
    ]


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
