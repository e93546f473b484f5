"""Each single check on a few entries: what it finds, how it says so, and where its limits are."""

import numpy as np
import pytest
from PIL import Image

from detr_d2.data.coco_writer import write_id_png
from detr_d2.validation.check_json import (
    check_balance,
    check_base_names,
    check_categories,
    check_pairs,
    check_segments,
)
from detr_d2.validation.check_pixels import check_image, check_png, compare_segments
from detr_d2.validation.findings import IMAGE, SEGMENT, Finding, Page, check_types

CATEGORIES = {
    2: {"id": 2, "name": "pipe", "isthing": 1},
    40: {"id": 40, "name": "soil", "isthing": 0},
}


def said(findings):
    """Severity, kind and text of each finding."""
    return [(f.severity, f.kind, str(f)) for f in findings]


def test_categories():
    entries = [
        *CATEGORIES.values(),
        {"id": 2, "name": "tube", "isthing": 1},
        {"id": 3, "name": "soil", "isthing": 0},
        {"id": 9, "name": "mud"},
    ]
    found = said(check_categories("a.json", entries))
    assert [(severity, kind) for severity, kind, _ in found] == [
        ("error", "faulty category"),
        ("error", "duplicate category id"),
        ("warning", "duplicate category name"),
    ]
    assert found[1][2] == ("a.json: 2 categories have the id 2; every category has a id of its own")
    assert "have the name 'soil'" in found[2][2]
    assert [kind for _, kind, _ in said(check_categories("a.json", []))] == ["no categories"]


def test_images_and_annotations_that_do_not_belong_together():
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 1, 1, 2, 4)]
    annotations = [{"image_id": i, "file_name": f"{i}.png"} for i in (1, 4, 4, "x")]
    found = said(check_pairs("a.json", images, annotations))
    assert [(kind, text.split(";")[0]) for _, kind, text in found] == [
        ("duplicate image", "a.json: 3 images have the id 1"),
        ("duplicate image", "a.json: 2 annotations have image_id 4"),
        ("image without record", "2.jpg: no annotation"),
        ("record without image", "x.png: image_id 'x' is not among the images"),
    ]
    assert {severity for severity, _, _ in found} == {"error"}


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["a.jpg", "b.jpg"], []),
        (["a.jpg", "a.png"], [("a.png", "a.jpg")]),
        (["one/a.jpg", "two/a.jpg", "a.x.jpg"], [("two/a.jpg", "one/a.jpg")]),
    ],
)
def test_base_names(names, alike):
    found = check_base_names([{"file_name": name} for name in names])
    assert [(f.file, f.found) for f in found] == [
        (later, f"same base name as {earlier}") for later, earlier in alike
    ]


def segment(number, category=2, **more):
    return {"id": number, "category_id": category, "iscrowd": 0, **more}


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([segment(1), segment(2), segment(3, 40)], []),
        ([], [("note", "no segments", "")]),
        ([segment(0)], [("error", "segment id 0", "segment 0")]),
        ([segment(5), segment(5)], [("error", "duplicate segment id", "segment 5")]),
        ([segment(7, 3)], [("error", "unknown category", "segment 7")]),
        ([segment(1, 40), segment(2, 40)], [("error", "stuff in several segments", "")]),
        ([segment(1, 40), segment(2, 40, iscrowd=1)], []),
        ([segment(i) for i in (1, 2, 3, 4)], [("warning", "more segments than queries", "")]),
    ],
)
def test_segments_of_one_image(segments, expected):
    found = list(check_segments("a.png", segments, CATEGORIES, queries=3))
    assert [(f.severity, f.kind, f.item) for f in found] == expected
    assert all(f.file == "a.png" for f in found)


def test_numbers_in_the_words_about_segments():
    many = [segment(i, 40) for i in (1, 2, 3)] + [segment(9, 7)]
    unknown, stuff, queries = check_segments("a.png", many, CATEGORIES, queries=2)
    assert (unknown.found, unknown.expected) == ("category_id 7", "one of [2, 40]")
    assert stuff.found == "stuff 'soil' has 3 segments"
    assert queries.found == "4 segments, the model finds 2 at most"
    assert queries.expected == "MODEL.DETR.NUM_QUERIES 4 or more"


@pytest.mark.parametrize(
    ("pipes", "kinds"), [(0, ["class without segments"]), (1, ["rare class"]), (2, [])]
)
def test_classes_of_less_than_a_hundredth_are_rare(pipes, kinds):
    found = list(check_balance("a.json", CATEGORIES, {2: pipes, 40: 200}))
    assert [f.kind for f in found] == kinds
    assert [f.item for f in found] == ["id 2"] * len(kinds)
    assert [f.severity for f in check_balance("a.json", CATEGORIES, {})] == ["note", "note"]


# Three rows and four columns: id 5 has 4 pixels in a box of 3 x 2, id 7 two, and 6 are void.
IDS = np.array([[0, 5, 5, 0], [0, 0, 5, 5], [7, 7, 0, 0]])
FIVE, SEVEN = segment(5, area=4, bbox=[1, 0, 3, 2]), segment(7, area=2, bbox=[0, 2, 2, 1])


def test_what_fits_the_pixels_has_no_findings():
    assert list(compare_segments("a.png", IDS, [FIVE, SEVEN], tiny=2)) == []
    absent = {key: value for key, value in SEVEN.items() if key != "bbox"}
    assert list(compare_segments("a.png", IDS, [FIVE, absent], tiny=0)) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"area": 3}, ("wrong area", "a.png: segment 7 area 3; 2")),
        ({"bbox": [0, 2, 1, 2]}, ("wrong box", "a.png: segment 7 bbox [0, 2, 1, 2]; [0, 2, 2, 1]")),
        ({"iscrowd": 2}, ("faulty iscrowd", "a.png: segment 7 iscrowd 2; 0 or 1")),
        ({"iscrowd": None}, ("faulty iscrowd", "a.png: segment 7 iscrowd None; 0 or 1")),
    ],
)
def test_what_does_not_fit_the_pixels(changed, expected):
    found = list(compare_segments("a.png", IDS, [FIVE, {**SEVEN, **changed}], tiny=2))
    assert [(f.severity, f.kind, str(f)) for f in found] == [("error", *expected)]


def test_ids_of_one_side_and_small_segments():
    found = compare_segments("a.png", IDS, [segment(9, area=3), SEVEN], tiny=3)
    assert said(found) == [
        (
            "error",
            "id not in the JSON",
            "a.png: id 5 4 pixels in the PNG; an entry in segments_info",
        ),
        ("error", "id not in the PNG", "a.png: segment 9 no pixel; no entry without pixels"),
        ("warning", "tiny segment", "a.png: segment 7 2 pixels; void, or fine if it is real"),
    ]


@pytest.mark.parametrize(("height", "width"), [(3, 5), (4, 4), (4, 3)])
def test_other_sizes_are_said_as_width_by_height(tmp_path, height, width):
    image, path = {"height": height, "width": width}, tmp_path / "a.png"
    Image.new("RGB", (4, 3)).save(path)
    (finding,), known = check_image(str(path), image)
    assert known is not None, "it can still be compared with others"
    assert finding.kind == "wrong size" and finding.file == str(path)
    assert finding.found == f"the JSON says {width}x{height}"
    assert finding.expected == "the image has 4x3"
    write_id_png(path, IDS)
    (finding,) = check_png(str(path), image, [FIVE, SEVEN], 0)
    assert (finding.found, finding.expected) == ("4x3 pixels", f"the JSON says {width}x{height}")


def test_an_image_that_is_there_and_one_that_is_not(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    found, known = check_image(str(tmp_path / "a.png"), {"height": 3, "width": 4})
    assert found == [] and known is not None
    (tmp_path / "b.png").write_bytes(b"no image")
    for name, kind in (("b.png", "unreadable image"), ("c.png", "missing image")):
        (finding,), known = check_image(str(tmp_path / name), {"height": 3, "width": 4})
        assert (finding.severity, finding.kind, known) == ("error", kind, None)
        assert finding.file.endswith(name) and not finding.found.startswith(str(tmp_path))


@pytest.mark.parametrize(("mode", "ids"), [("RGBA", True), ("L", False)])
def test_pngs_of_other_modes(tmp_path, mode, ids):
    """The ids of one with an alpha channel can still be read: only its mode is wrong."""
    path = tmp_path / "a.png"
    write_id_png(path, IDS)
    with Image.open(path) as png:
        other = png.convert(mode)
    other.save(path)
    first, *more = check_png(str(path), {"height": 3, "width": 4}, [FIVE, SEVEN], 0)
    assert (first.kind, first.found) == ("PNG not RGB", f"image mode {mode}")
    assert (more == []) == ids


def test_a_png_that_is_not_there(tmp_path):
    (finding,) = check_png(str(tmp_path / "a.png"), {}, [], 0)
    assert (finding.kind, finding.found) == ("unreadable PNG", "not there")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"id": "x", "file_name": "a.jpg"}, []),
        (5, ["image 1 is 5; an object"]),
        ({"id": True, "file_name": "a"}, ["image 1: id is True; a number or a text"]),
        ({"id": 1.5, "file_name": ""}, ["image 1: id is 1.5", "image 1: file_name is ''; a text"]),
        ({"id": 1}, ["image 1: file_name is None; a text"]),
    ],
)
def test_types_of_images(entry, expected):
    found = list(check_types("a.json", "image", [{"id": 1, "file_name": "b"}, entry], IMAGE))
    for finding, text in zip(found, expected, strict=True):
        assert (finding.severity, finding.kind) == ("error", "malformed image")
        assert str(finding).startswith(f"a.json: {text}")


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("id", 5.0, False),
        ("category_id", "5", False),
        ("area", 2.5, True),
        ("area", True, False),
        ("bbox", None, True),
        ("bbox", [1, 2.5, 3, 4], True),
        ("bbox", [1, 2, 3], False),
        ("bbox", [1, 2, 3, True], False),
        ("bbox", (1, 2, 3, 4), False),
    ],
)
def test_types_of_segments(key, value, fits):
    assert (list(check_types("a.png", "segment", [{**SEVEN, key: value}], SEGMENT)) == []) == fits


def test_long_values_are_cut():
    (finding,) = check_types("a.json", "image", ["x" * 200], IMAGE)
    assert finding.found == f"image 0 is '{'x' * 119}..."


def fault(severity, kind, number):
    return Finding(severity, kind, f"{number}.png", "", "bad", "good")


def test_a_page_counts_all_shows_three_and_has_the_most_frequent_first():
    page = Page()
    page.add([fault("note", "n", 0), fault("error", "rare", 1), fault("warning", "w", 2)])
    page.add(fault("error", "often", number) for number in range(4))
    page.add([])
    assert [page.count(s) for s in ("error", "warning", "note")] == [5, 1, 1]
    assert str(page).splitlines() == [
        "5 errors, 1 warnings, 1 notes",
        "ERROR often (4)",
        *[f"    {number}.png: bad; good" for number in (0, 1, 2)],
        "    ... and 1 more",
        "ERROR rare (1)",
        "    1.png: bad; good",
        "WARNING w (1)",
        "    2.png: bad; good",
        "NOTE n (1)",
        "    0.png: bad; good",
    ]
