"""The rules from layers to segments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detr_d2.conversion.canvas import Kind
from detr_d2.conversion.formats.drawing import VOID, Drawing, Layer
from detr_d2.conversion.rasterize import Rules, paint
from detr_d2.conversion.regions import split_regions
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import write_id_png
from detr_d2.evaluation.pq import panoptic_quality
from detr_d2.validation.check_pixels import compare_segments

KINDS = [Kind("sky", False, 7), Kind("nut", True, 3), Kind("leaf", True, 4)]


def full(height: int, width: int) -> np.ndarray:
    return np.ones((height, width), bool)


def layers() -> list[Layer]:
    """A leaf of 16 pixels, then a nut of 20 that covers a corner of it."""
    return [Layer("leaf", full(4, 4), (0, 0)), Layer("nut", full(4, 5), (2, 2))]


@pytest.mark.parametrize(
    ("order", "areas"),
    [("area", {4: 16, 3: 16}), ("annotation", {4: 12, 3: 20}), ("class", {4: 16, 3: 16})],
)
def test_overlap(order, areas):
    _, segments = paint(Drawing((8, 10), layers=layers()), KINDS, Rules(order=order))
    assert {s["category_id"]: s["area"] for s in segments} == areas


def test_class_order_is_that_of_the_list():
    _, segments = paint(Drawing((8, 10), layers=layers()), KINDS[::-1], Rules(order="class"))
    assert {s["category_id"]: s["area"] for s in segments} == {4: 12, 3: 20}


def test_stuff_is_one_segment_and_groups_are_too():
    drawing = Drawing((5, 10))
    drawing.layers = [Layer("sky", full(1, 2), (0, c)) for c in (0, 4, 8)]
    drawing.layers += [Layer("nut", full(1, 1), (2, c), group="g") for c in (0, 4)]
    drawing.layers += [Layer("leaf", full(1, 1), (2, 8), group="g")]
    _, segments = paint(drawing, KINDS, Rules())
    assert sorted((s["category_id"], s["area"]) for s in segments) == [(3, 2), (4, 1), (7, 6)]


def test_crowds_of_a_class_are_one():
    drawing = Drawing(
        (3, 9), layers=[Layer("nut", full(1, 1), (0, c), crowd=c > 0) for c in (0, 3, 6)]
    )
    _, segments = paint(drawing, KINDS, Rules())
    assert sorted((s["iscrowd"], s["area"]) for s in segments) == [(0, 1), (1, 2)]


def test_declared_void_is_not_filled_with_the_rest():
    drawing = Drawing((4, 6), layers=[Layer(VOID, full(4, 1), (0, 5)), Layer("nut", full(1, 1))])
    ids, segments = paint(drawing, KINDS, Rules(rest="table"), rest_id=9)
    assert (ids[:, 5] == 0).all()
    assert {s["category_id"]: s["area"] for s in segments} == {3: 1, 9: 4 * 5 - 1}


def test_what_is_hidden_is_gone_and_ids_have_no_gap():
    drawing = Drawing((4, 4), layers=[Layer("nut", full(2, 2)), Layer("leaf", full(3, 3))])
    ids, segments = paint(drawing, KINDS, Rules(order="annotation"))
    assert [(s["id"], s["category_id"]) for s in segments] == [(1, 4)]
    assert sorted(np.unique(ids)) == [0, 1]


def test_closing_joins_what_is_near_and_adds_no_pixel():
    mask = np.zeros((9, 20), bool)
    mask[2:7, 2:6] = mask[2:7, 8:12] = True
    mask[3, 18] = True
    assert len(split_regions(mask)) == 3
    assert len(split_regions(mask, min_area=2)) == 2
    joined = split_regions(mask, min_area=2, closing=4)
    assert [int(piece.sum()) for _, _, piece in joined] == [40]


@pytest.mark.parametrize(("things", "count"), [("components", 2), ("region", 1), ("void", 0)])
def test_things_of_a_label_map(things, count):
    labels = np.zeros((4, 9), np.int16)
    labels[0:3, 0:3] = labels[0:3, 5:8] = 2  # nut
    _, segments = paint(Drawing((4, 9), labels=labels), KINDS, Rules(things=things, min_area=5))
    assert len(segments) == count


def test_wrong_rules_are_refused():
    with pytest.raises(
        ValueError, match=r"order 'size', allowed: \('area', 'class', 'annotation'\)"
    ):
        Rules(order="size")
    with pytest.raises(ValueError, match="min_area -1"):
        Rules(min_area=-1)


@st.composite
def drawings(draw):
    """A random drawing: a label map, an instance map, layers that overlap and reach the edges."""
    size = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    drawing = Drawing(size)
    if draw(st.booleans()):
        drawing.labels = draw(arrays.arrays(np.int16, size, elements=st.integers(-1, 3)))
    if draw(st.booleans()):
        drawing.instances = draw(arrays.arrays(np.int32, size, elements=st.integers(-1, 5)))
        keys = st.tuples(st.sampled_from(["sky", "nut", "leaf"]), st.booleans())
        drawing.instance_classes = {n: draw(keys) for n in draw(st.sets(st.integers(1, 5)))}
    for _ in range(draw(st.integers(0, 5))):
        top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
        shape = (draw(st.integers(1, size[0] - top)), draw(st.integers(1, size[1] - left)))
        key = draw(st.sampled_from(["sky", "nut", "leaf", VOID]))
        group = draw(st.sampled_from([None, 1, "x"]))
        mask = draw(arrays.arrays(bool, shape))
        drawing.layers.append(Layer(key, mask, (top, left), group, draw(st.booleans())))
    return drawing


RULES = st.builds(
    Rules,
    order=st.sampled_from(["area", "class", "annotation"]),
    things=st.sampled_from([None, "components", "region", "void"]),
    min_area=st.integers(0, 6),
    closing=st.integers(0, 3),
)


@settings(max_examples=120, deadline=None)
@given(drawings(), RULES, st.sampled_from([None, 9]))
def test_every_drawing_gives_a_valid_annotation(drawing, rules, rest_id):
    ids, segments = paint(drawing, KINDS, rules, rest_id)

    assert ids.shape == drawing.size
    assert list(compare_segments("x.png", ids, segments, tiny=0)) == []
    assert [s["id"] for s in segments] == list(range(1, len(segments) + 1))
    stuff = [s["category_id"] for s in segments if s["category_id"] in (7, 9)]
    assert len(stuff) == len(set(stuff))
    if rest_id is not None and drawing.labels is None and drawing.instances is None:
        declared = [layer for layer in drawing.layers if layer.key == VOID]
        assert declared or (ids > 0).all()


@settings(max_examples=8, deadline=None)
@given(drawings(), RULES)
def test_ground_truth_fed_back_scores_a_hundred(tmp_path_factory, drawing, rules):
    ids, segments = paint(drawing, KINDS, rules, 9)
    if all(s["iscrowd"] for s in segments):
        return
    folder = tmp_path_factory.mktemp("pq")
    write_id_png(folder / "a.png", ids)
    entries = [{"id": k.category_id, "name": k.key, "isthing": k.isthing} for k in KINDS]
    table = CategoryTable([*entries, {"id": 9, "name": "rest", "isthing": 0}])
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": segments}
    height, width = ids.shape
    ground_truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": height, "width": width}],
        "annotations": [annotation],
        "categories": table.to_json(),
    }
    result = panoptic_quality(ground_truth, [annotation], str(folder), str(folder))
    assert result["All"]["pq"] == 1.0
