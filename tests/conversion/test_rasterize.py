"""The rules from annotated regions to segments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detr_d2.conversion.image_annotation import VOID, ImageAnnotation, Region
from detr_d2.conversion.rasterize import Rules, TargetClass, components, rasterize
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import write_id_png
from detr_d2.evaluation.pq import panoptic_quality
from detr_d2.validation.check_pixels import compare_segments

CLASSES = [TargetClass("sky", False, 7), TargetClass("nut", True, 3), TargetClass("leaf", True, 4)]


def full(height: int, width: int) -> np.ndarray:
    return np.ones((height, width), bool)


def regions() -> list[Region]:
    """A leaf of 16 pixels, then a nut of 20 that covers a corner of it."""
    return [Region("leaf", full(4, 4), (0, 0)), Region("nut", full(4, 5), (2, 2))]


@pytest.mark.parametrize(
    ("order", "areas"),
    [("area", {4: 16, 3: 16}), ("annotation", {4: 12, 3: 20}), ("class", {4: 16, 3: 16})],
)
def test_overlap(order, areas):
    _, segments, _ = rasterize(
        ImageAnnotation((8, 10), regions=regions()), CLASSES, Rules(order=order)
    )
    assert {s["category_id"]: s["area"] for s in segments} == areas


def test_regions_are_cropped_to_the_smallest_window():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:4] = True
    annotation = ImageAnnotation((4, 6))
    annotation.add_region(mask, "nut", crowd=True, group="g")
    annotation.add_region(np.zeros((4, 6), bool), "nut")
    (region,) = annotation.regions
    assert (region.key, region.top_left, region.mask.shape) == ("nut", (1, 1), (2, 3))
    assert region.mask.all() and region.crowd and region.group == "g"
    assert region.area == 6
    ids = np.zeros((4, 6), int)
    region.fill(ids, 5)
    assert (ids == 5 * mask).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (7, 4)])
def test_masks_come_back_from_their_code(size, order):
    mask = np.asarray(np.random.default_rng(3).random(size) < 0.6, order=order)
    mask[0, 0] = True
    region = Region("nut", mask)
    assert region.area == mask.sum()
    np.testing.assert_array_equal(region.mask, mask)
    crop = np.pad(mask, 2)[2:-2, 2:-2]
    np.testing.assert_array_equal(Region("nut", crop).mask, mask)


def test_class_order_is_that_of_the_list():
    _, segments, _ = rasterize(
        ImageAnnotation((8, 10), regions=regions()), CLASSES[::-1], Rules(order="class")
    )
    assert {s["category_id"]: s["area"] for s in segments} == {4: 12, 3: 20}


def test_stuff_is_one_segment_and_groups_are_too():
    annotation = ImageAnnotation((5, 10))
    annotation.regions = [Region("sky", full(1, 2), (0, c)) for c in (0, 4, 8)]
    annotation.regions += [Region("nut", full(1, 1), (2, c), group="g") for c in (0, 4)]
    annotation.regions += [Region("leaf", full(1, 1), (2, 8), group="g")]
    _, segments, _ = rasterize(annotation, CLASSES, Rules())
    assert sorted((s["category_id"], s["area"]) for s in segments) == [(3, 2), (4, 1), (7, 6)]


def test_crowds_of_a_class_are_one():
    annotation = ImageAnnotation(
        (3, 9), regions=[Region("nut", full(1, 1), (0, c), crowd=c > 0) for c in (0, 3, 6)]
    )
    _, segments, _ = rasterize(annotation, CLASSES, Rules())
    assert sorted((s["iscrowd"], s["area"]) for s in segments) == [(0, 1), (1, 2)]


def test_stuff_is_never_a_crowd():
    annotation = ImageAnnotation((3, 9), regions=[Region("sky", full(2, 2), crowd=True)])
    _, segments, _ = rasterize(annotation, CLASSES, Rules())
    assert [(s["category_id"], s["iscrowd"], s["area"]) for s in segments] == [(7, 0, 4)]


def test_declared_void_is_not_filled_with_the_background_class():
    annotation = ImageAnnotation(
        (4, 6), regions=[Region(VOID, full(4, 1), (0, 5)), Region("nut", full(1, 1))]
    )
    ids, segments, _ = rasterize(
        annotation, CLASSES, Rules(background_class="table"), background_id=9
    )
    assert (ids[:, 5] == 0).all()
    assert {s["category_id"]: s["area"] for s in segments} == {3: 1, 9: 4 * 5 - 1}


def test_what_is_hidden_is_gone_and_ids_have_no_gap():
    annotation = ImageAnnotation(
        (4, 4), regions=[Region("nut", full(2, 2)), Region("leaf", full(3, 3))]
    )
    ids, segments, _ = rasterize(annotation, CLASSES, Rules(order="annotation"))
    assert [(s["id"], s["category_id"]) for s in segments] == [(1, 4)]
    assert sorted(np.unique(ids)) == [0, 1]


def test_annotations_without_a_segment_are_counted():
    labels = np.zeros((8, 8), np.int16)
    labels[0, 0] = labels[0, 4] = 3  # two leaves of one pixel
    annotation = ImageAnnotation((8, 8), class_map=labels)
    annotation.add_region(np.zeros((8, 8), bool), "nut")
    annotation.add_region(np.zeros((8, 8), bool), VOID)
    annotation.regions = [Region("nut", full(2, 2), (4, 4)), Region("nut", full(4, 4), (4, 4))]
    ids, segments, lost = rasterize(annotation, CLASSES, Rules("annotation", min_area=2))
    assert [(s["category_id"], s["area"]) for s in segments] == [(3, 16)]
    assert lost == {
        ("without pixels", 3): 1,
        ("hidden by others", 3): 1,
        ("smaller than min_area", 4): 2,
    }
    assert ids[0, 0] == 0


def test_closing_joins_what_is_near_and_adds_no_pixel():
    mask = np.zeros((9, 20), bool)
    mask[2:7, 2:6] = mask[2:7, 8:12] = True
    mask[3, 18] = True
    pieces = [(row, column, int(piece.sum())) for row, column, piece in components(mask)]
    assert pieces == [(2, 2, 20), (2, 8, 20), (3, 18, 1)]
    joined = [(row, column, int(piece.sum())) for row, column, piece in components(mask, 4)]
    assert joined == [(2, 2, 40), (3, 18, 1)]


@pytest.mark.parametrize(("things", "count"), [("components", 2), ("region", 1), ("void", 0)])
def test_things_of_a_class_map(things, count):
    labels = np.zeros((4, 9), np.int16)
    labels[0:3, 0:3] = labels[0:3, 5:8] = 2  # nut
    _, segments, _ = rasterize(
        ImageAnnotation((4, 9), class_map=labels), CLASSES, Rules(things=things, min_area=5)
    )
    assert len(segments) == count


@pytest.mark.parametrize(("min_area", "count"), [(5, 1), (6, 0)])
def test_the_area_of_a_component_is_that_of_its_pixels_not_of_its_box(min_area, count):
    labels = np.eye(5, dtype=np.int16) + 1  # A nut along the diagonal, else sky.
    annotation = ImageAnnotation((5, 5), class_map=labels)
    rules = Rules(things="components", min_area=min_area)
    _, segments, lost = rasterize(annotation, CLASSES, rules)
    assert [s["category_id"] for s in segments].count(3) == count
    assert sum(lost.values()) == 1 - count


def test_wrong_rules_are_refused():
    with pytest.raises(
        ValueError, match=r"order 'size', allowed: \('area', 'class', 'annotation'\)"
    ):
        Rules(order="size")
    with pytest.raises(ValueError, match="min_area -1"):
        Rules(min_area=-1)


@st.composite
def annotations(draw):
    """A class map, an instance map, regions that overlap and reach the edges, at random."""
    size = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    annotation = ImageAnnotation(size)
    if draw(st.booleans()):
        annotation.class_map = draw(arrays.arrays(np.int16, size, elements=st.integers(-1, 3)))
    if draw(st.booleans()):
        annotation.instance_map = draw(arrays.arrays(np.int32, size, elements=st.integers(-1, 5)))
        keys = st.tuples(st.sampled_from(["sky", "nut", "leaf"]), st.booleans())
        annotation.instance_classes = {n: draw(keys) for n in draw(st.sets(st.integers(1, 5)))}
    for _ in range(draw(st.integers(0, 5))):
        top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
        shape = (draw(st.integers(1, size[0] - top)), draw(st.integers(1, size[1] - left)))
        key = draw(st.sampled_from(["sky", "nut", "leaf", VOID]))
        group = draw(st.sampled_from([None, 1, "x"]))
        mask = draw(arrays.arrays(bool, shape))
        annotation.regions.append(Region(key, mask, (top, left), group, draw(st.booleans())))
    return annotation


RULES = st.builds(
    Rules,
    order=st.sampled_from(["area", "class", "annotation"]),
    things=st.sampled_from([None, "components", "region", "void"]),
    min_area=st.integers(0, 6),
    closing=st.integers(0, 3),
)


@settings(max_examples=120, deadline=None)
@given(annotations(), RULES, st.sampled_from([None, 9]))
def test_every_annotation_gives_valid_segments(annotation, rules, background_id):
    ids, segments, _ = rasterize(annotation, CLASSES, rules, background_id)

    assert ids.shape == annotation.size
    assert list(compare_segments("x.png", ids, segments, tiny=0)) == []
    assert [s["id"] for s in segments] == list(range(1, len(segments) + 1))
    stuff = [s["category_id"] for s in segments if s["category_id"] in (7, 9)]
    assert len(stuff) == len(set(stuff))
    if (
        background_id is not None
        and annotation.class_map is None
        and annotation.instance_map is None
    ):
        declared = [layer for layer in annotation.regions if layer.key == VOID]
        assert declared or (ids > 0).all()


@settings(max_examples=8, deadline=None)
@given(annotations(), RULES)
def test_ground_truth_fed_back_scores_a_hundred(tmp_path_factory, annotation, rules):
    ids, segments, _ = rasterize(annotation, CLASSES, rules, 9)
    if all(s["iscrowd"] for s in segments):
        return
    folder = tmp_path_factory.mktemp("pq")
    write_id_png(folder / "a.png", ids)
    entries = [{"id": k.category_id, "name": k.key, "isthing": k.isthing} for k in CLASSES]
    table = CategoryTable([*entries, {"id": 9, "name": "rest", "isthing": 0}])
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": segments}
    height, width = ids.shape
    ground_truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": height, "width": width}],
        "annotations": [annotation],
        "categories": table.to_json(),
    }
    counts = panoptic_quality(ground_truth, [annotation], str(folder), str(folder))
    assert counts.average(table.to_json())["All"]["pq"] == 1.0
