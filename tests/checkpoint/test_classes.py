import pytest
from detectron2.data import MetadataCatalog

from detr_d2.checkpoint.classes import COCO_NAMES, coco_names, names_of_rows, plain, plan_rows


def test_names_of_coco_are_133_and_differ_as_they_are_compared():
    assert len({plain(name) for name in COCO_NAMES.values()}) == 133


def test_rows_of_the_published_weights_are_coco_ids():
    names = names_of_rows(91, None, maybe_coco=True)
    assert names[1] == "person" and names[0] is None and names[12] is None and names[90]
    assert len(names) == 91
    panoptic = names_of_rows(250, None, maybe_coco=True)
    assert panoptic[200] == "rug-merged" and panoptic[249] is None


def test_names_of_a_file_win_unless_they_are_placeholders():
    given = {0: "LABEL_0", 1: "brick", 2: "N/A"}
    assert names_of_rows(3, given, maybe_coco=True) == (None, "brick", None)
    assert names_of_rows(3, {0: "LABEL_0"}, maybe_coco=True) is None
    assert names_of_rows(91, {1: "brick"}, maybe_coco=True)[1] == "brick"
    # Hugging Face's list of COCO has holes where ids are unused, and placeholders for some.
    assert names_of_rows(91, {1: "person", 2: "LABEL_2"}, maybe_coco=True) == coco_names(91)
    assert names_of_rows(91, None, maybe_coco=False) is None


def test_by_name_keeps_shared_classes_in_the_order_here():
    plan = plan_rows((None, "person", "Traffic_Light"), 3, ["traffic light", "brick", "person"], 3)
    assert plan.kept == ((0, 2), (2, 1)) and plan.fresh == (1,)


def test_of_two_rows_with_one_name_the_first_is_taken():
    assert plan_rows(("car", "a_b", "A b"), 3, ["a b"], 1).kept == ((0, 1),)


def test_a_renamed_class_takes_the_row_of_its_old_name():
    plan = plan_rows(("person", "car"), 2, ["worker", "car"], 2, renamed={"worker": "person"})
    assert plan.kept == ((0, 0), (1, 1)) and plan.fresh == ()
    # What was trained so knows the new name already.
    plan = plan_rows(("car", "worker"), 2, ["worker", "car"], 2, renamed={"worker": "person"})
    assert plan.kept == ((0, 1), (1, 0))


@pytest.mark.parametrize(
    ("source", "rows", "rule", "kept"),
    [
        (None, 3, "by_name", ((0, 0), (1, 1), (2, 2))),
        (None, 4, "by_name", ()),
        (None, 4, "in_order", ((0, 0), (1, 1), (2, 2))),
        (("x", "y"), 2, "in_order", ((0, 0), (1, 1))),
        (("a", "b", "c"), 3, "none", ()),
    ],
)
def test_other_rules(source, rows, rule, kept):
    plan = plan_rows(source, rows, ["a", "b", "c"], 3, rule)
    assert plan.kept == kept
    assert sorted([*dict(kept), *plan.fresh]) == [0, 1, 2]
    assert plan.nothing == (rule == "none")


def test_names_that_are_unknown_here_need_equal_numbers():
    assert plan_rows(("a", "b"), 2, [], 2).kept == ((0, 0), (1, 1))
    assert plan_rows(("a", "b"), 2, [], 3).kept == ()


@pytest.mark.parametrize("rows", [91, 250])
def test_all_classes_of_detectron2s_coco_have_a_row(rows):
    name = {91: "coco_2017_val", 250: "coco_2017_val_panoptic"}[rows]
    classes = MetadataCatalog.get(name).thing_classes
    plan = plan_rows(coco_names(rows), rows, classes, len(classes))
    assert plan.fresh == () and len(plan.kept) == {91: 80, 250: 133}[rows]
    meta = MetadataCatalog.get(name)
    ids = dict(meta.thing_dataset_id_to_contiguous_id)
    ids |= meta.get("stuff_dataset_id_to_contiguous_id", {})
    assert {(here, id_) for id_, here in ids.items()} == set(plan.kept)


def test_names_are_compared_without_case_and_signs_between_words():
    assert plain(" Tree-Merged__x\t") == "tree merged x"
    plan = plan_rows(("tree merged",), 1, ["Baum"], 1, renamed={"baum ": "Tree_Merged"})
    assert plan.kept == ((0, 0),)


@pytest.mark.parametrize("name", ["N/A", "n/a", "NA", "LABEL_2", "label 2", "Unknown", ""])
def test_placeholders_are_no_names(name):
    assert names_of_rows(2, {0: "brick", 1: name}, maybe_coco=False) == ("brick", None)


def test_names_of_more_rows_than_there_are_do_not_matter():
    assert names_of_rows(91, {1: "person", 95: "x"}, maybe_coco=True) == coco_names(91)
    assert names_of_rows(1, {0: "brick", 1: "x"}, maybe_coco=False) == ("brick",)


def test_names_that_are_too_few_here_are_not_used():
    """The model has three rows and two names: rows go by their order, if at all."""
    assert plan_rows(("b", "a", "c"), 3, ["a", "b"], 3).kept == ((0, 0), (1, 1), (2, 2))
    plan = plan_rows(("b", "a"), 2, ["a", "b"], 3)
    assert (plan.kept, plan.how) == ((), "2 classes of unknown name in the file")
