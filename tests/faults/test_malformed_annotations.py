"""Annotations with impossible numbers are reported, before memory is reserved or written over."""

import json
import math

import numpy as np
import pytest
from converted_sets import save_image
from pycocotools import mask as coco_mask

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.data.image_io import UnreadableError
from detr_d2.data.segmentations import (
    check_points,
    check_size,
    decode_rle,
    fill_runs,
    rasterize_segmentation,
    unpack_counts,
)

SIZE = (HEIGHT, WIDTH) = (30, 40)
SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]


def packed(counts: list[int]) -> bytes:
    """COCO's compressed counts, as pycocotools writes them for an image that they fill."""
    size = (sum(counts), 1)
    return coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)["counts"]


# A sum of counts below and above the pixels, negative ones, and ones that overflow the sum.
BAD_COUNTS = [[5, 5], [1200, 1], [0, 1201], [-1, 1201], [600, 2**62, 600], [], [1.5, 1198.5]]


@pytest.mark.parametrize("counts", BAD_COUNTS, ids=str)
def test_counts_must_fill_their_image(counts):
    with pytest.raises(UnreadableError, match="x: RLE counts"):
        decode_rle({"size": list(SIZE), "counts": counts}, "x")


@pytest.mark.parametrize("counts", [[5, 5], [1200, 1], [0, 1201]], ids=str)
def test_packed_counts_must_fill_their_image(counts):
    with pytest.raises(UnreadableError, match="must be from 0 and fill 1200 pixels"):
        decode_rle({"size": list(SIZE), "counts": packed(counts)}, "x")


@pytest.mark.parametrize("counts", ["", "~", "0\n", "o", "oooooooooooo1", "ä1", 5, None, ["a"]])
def test_what_is_no_code_is_named(counts):
    with pytest.raises(UnreadableError, match=r"x: (malformed )?RLE counts"):
        decode_rle({"size": list(SIZE), "counts": counts}, "x")


def test_codes_are_unpacked_as_pycocotools_packs_them():
    """Random masks, with long runs and with differences below zero."""
    generator = np.random.default_rng(3)
    for share in (0, 0.01, 0.5, 0.99, 1):
        mask = np.asfortranarray(generator.random((70, 90)) < share)
        rle = coco_mask.encode(mask.view(np.uint8))
        np.testing.assert_array_equal(decode_rle(rle), mask)
        text = {**rle, "counts": rle["counts"].decode()}
        np.testing.assert_array_equal(decode_rle(text), mask)
        assert unpack_counts(rle["counts"], "x").sum() == 70 * 90


def test_rows_are_filled_with_the_first_run_outside():
    assert fill_runs([1, 2, 3], 2, 3, "x").tolist() == [[False, True, True], [False] * 3]


@pytest.mark.parametrize(
    "size",
    [
        [10**6, 10**6],
        [0, 5],
        [-3, 5],
        [5],
        [5, 5, 5],
        None,
        "ab",
        [2.0, 2],
        [True, 5],
        [math.inf, 5],
    ],
    ids=str,
)
def test_sizes_are_checked_before_use(size):
    with pytest.raises(UnreadableError, match="x: size"):
        check_size(size, "x")
    with pytest.raises(UnreadableError, match="x: size"):
        decode_rle({"size": size, "counts": [10**12]}, "x")


BAD_POINTS = [
    [*SQUARE[:-1], math.nan],
    [*SQUARE[:-1], None],
    [*SQUARE[:-1], math.inf],
    [*SQUARE[:-1], 1e9],
    [*SQUARE[:-1], -641],
    [*SQUARE[:-1], "3"],
    [*SQUARE, 3],
    [*SQUARE[:-1], [3]],
    [[[2, 2], [12, 2], [12, 12]]],
    [10**30, 0, 1, 1, 2, 2],
    {"a": 1},
    "abc",
]


@pytest.mark.parametrize("polygon", BAD_POINTS, ids=str)
def test_points_are_checked_before_use(polygon):
    with pytest.raises(UnreadableError, match=r"x: .*coordinate"):
        check_points(polygon, *SIZE, "x")
    with pytest.raises(UnreadableError, match=r"x: .*coordinate"):
        rasterize_segmentation({"segmentation": [SQUARE, polygon]}, *SIZE, "x")


def test_points_a_little_outside_are_fine():
    assert check_points([-640, 0, 640, 1], *SIZE, "x").tolist() == [[-640, 0], [640, 1]]
    assert check_points([[1, 2], [3, 4]], *SIZE, "x").shape == (2, 2)


def coco_set(root, *segmentations):
    """One image, and an annotation for each segmentation."""
    save_image(root / "images/a.jpg", SIZE)
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": s}
        for i, s in enumerate(segmentations)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "nut"}],
    }
    (root / "x.json").write_text(json.dumps(content))
    return {"annotations": str(root / "x.json"), "images": str(root / "images")}


def test_bad_annotations_reject_their_image_or_are_skipped_and_counted(tmp_path):
    far = {"size": list(SIZE), "counts": [5, 5]}
    options = coco_set(tmp_path, [SQUARE], [BAD_POINTS[0]], [BAD_POINTS[3]], far, [BAD_POINTS[3]])
    with pytest.raises(ValueError, match=r"annotation 1 of a\.jpg: coordinate .*--skip-bad-ann"):
        convert_set(open_format("coco-json", **options), tmp_path / "out")
    skipping = open_format("coco-json", **options, skip_bad_annotations=True)
    report = convert_set(skipping, tmp_path / "out")
    assert report.segments == {"nut": 1}
    assert [group.count for group in report.bad_annotations] == [2, 1, 1]
    assert "annotation 2 of a.jpg: coordinate 1e+09 is not within" in (
        report.bad_annotations[0].example
    )
    written = json.loads((tmp_path / "out/conversion.json").read_text())
    assert [group["count"] for group in written["bad_annotations"]] == [2, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"].append({"id": 2}), "images: entry 1 needs id and file_name"),
        (lambda c: c["images"].append(7), "images: entry 1 needs id"),
        (lambda c: c["categories"].append({"id": [], "name": "a"}), "categories: entry 1 needs id"),
        (lambda c: c["categories"].append({"id": 5, "name": 5}), "entry 1 needs id and name"),
    ],
)
def test_entries_of_coco_without_their_keys_are_named(tmp_path, change, message):
    options = coco_set(tmp_path, [SQUARE])
    content = json.loads((tmp_path / "x.json").read_text())
    change(content)
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        open_format("coco-json", **options)


@pytest.mark.parametrize("entry", [5, None, {"image_id": 1}, {"image_id": [], "category_id": 1}])
def test_annotations_of_no_image_are_reported(tmp_path, entry):
    options = coco_set(tmp_path, [SQUARE])
    content = json.loads((tmp_path / "x.json").read_text())
    content["annotations"].append(entry)
    (tmp_path / "x.json").write_text(json.dumps(content))
    (item,) = open_format("coco-json", **options).skipped
    assert item.name.endswith("annotation 1")
    assert item.reason == "has no image_id or no category_id"


SHAPES = [
    {"label": "nut", "points": BAD_POINTS[0]},
    {"label": "nut", "points": [[1, 1], [1e9, 2], [3, 3]]},
    {"label": "nut", "points": [[1, 1], [5, 5]], "shape_type": "circle", "group_id": [1]},
    {"label": "nut"},
    {"points": [[1, 1], [5, 5], [1, 9]]},
    5,
]


def test_one_bad_labelme_shape_does_not_end_the_conversion(tmp_path):
    for number, shape in enumerate([*SHAPES, {"label": "nut", "points": [[1, 1], [9, 1], [9, 9]]}]):
        save_image(tmp_path / f"{number}.jpg", SIZE)
        content = {"shapes": [shape], "imagePath": f"{number}.jpg"}
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    report = convert_set(open_format("labelme", folder=str(tmp_path)), tmp_path / "out")
    bad = {item.name for item in report.skipped}
    # A group that is a list is none.
    assert bad == {"0.jpg", "1.jpg", "3.jpg", "4.jpg", "5.jpg"}
    assert report.segments == {"nut": 2}


def test_a_size_that_a_file_claims_is_checked_before_it_is_used(tmp_path):
    save_image(tmp_path / "a.jpg", SIZE)
    shape = {"label": "nut", "points": [[1, 1], [9, 1], [9, 9]]}
    content = {"shapes": [shape], "imagePath": "a.jpg", "imageHeight": 10**6, "imageWidth": 10**6}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="size 1000000x1000000, above 268435456 pixels"):
        convert_set(open_format("labelme", folder=str(tmp_path), resize=True), tmp_path / "out")
