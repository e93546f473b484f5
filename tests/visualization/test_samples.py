from hypothesis import given
from hypothesis import strategies as st

from detr_d2.visualization.samples import cover_classes


def test_every_class_is_shown_by_few_images():
    classes = [{0}, {0, 1}, {2}, {0, 1, 2}, {3}, set(), {0}]
    # Image 3 has three of the four classes; the others are spread over the rest.
    assert cover_classes(classes, 2) == [3, 4]
    assert cover_classes(classes, 1) == [3, 4], "the classes need more"
    assert cover_classes(classes, 3) == [2, 3, 4]
    assert cover_classes(classes, 100) == list(range(7))
    assert cover_classes([], 4) == []


@given(st.lists(st.sets(st.integers(0, 9))), st.integers(1, 12))
def test_always(classes, count):
    chosen = cover_classes(classes, count)
    assert chosen == sorted(set(chosen))
    assert set().union(*(classes[i] for i in chosen)) == set().union(*classes)
    assert len(chosen) >= min(count, len(classes))
