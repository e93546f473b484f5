from types import SimpleNamespace

import pytest
from detectron2.data import Metadata, MetadataCatalog

from detr_d2.visualization import Palette
from detr_d2.visualization.palette import SHADES


def test_names_colours_and_things_of_a_registered_set(tiny_set, register):
    palette = Palette.from_metadata(MetadataCatalog.get(register(**tiny_set.paths())))
    assert palette.names == ["pipe", "brick", "sky", "soil"]
    assert palette.colors[1] == (200, 60, 50)
    assert palette.thing_ids == {0, 1}


def test_a_detection_set_has_things_only():
    metadata = Metadata(
        thing_classes=["car", "tree"],
        thing_colors=[(1, 2, 3), (4, 5, 6)],
        thing_dataset_id_to_contiguous_id={3: 0, 8: 1},
    )
    palette = Palette.from_metadata(metadata)
    assert palette.names == ["car", "tree"]
    assert palette.colors == [(1, 2, 3), (4, 5, 6)]
    assert palette.thing_ids == {0, 1}


@pytest.mark.parametrize("colors", [{}, {"stuff_colors": [(1, 2, 3)]}])
def test_a_set_without_a_colour_for_each_class_gets_others(colors):
    """Detectron2's COCO has none for the last of its classes."""
    palette = Palette.from_metadata(Metadata(stuff_classes=["sky", "rug"], **colors))
    assert palette.colors == Palette(["sky", "rug"]).colors
    assert palette.thing_ids == frozenset()


def test_shades_differ_and_the_first_is_the_class_colour():
    palette = Palette(["a"], [(200, 60, 50)])
    shades = [palette.shade(0, number) for number in range(len(SHADES))]
    assert shades[0] == (200, 60, 50)
    assert len(set(shades)) == len(SHADES)
    assert palette.shade(0, len(SHADES)) == shades[0]
    assert all(0 <= value <= 255 for shade in shades for value in shade)


def test_a_white_class_has_shades_too():
    palette = Palette(["a"], [(255, 255, 255)])
    assert palette.shade(0, 1) != (255, 255, 255)


def test_without_colours_they_are_spread_and_always_the_same():
    palette = Palette(["a", "b", "c"])
    assert len(set(palette.colors)) == 3
    assert palette.colors == Palette(["a", "b", "c"]).colors


def test_names_and_colours_must_match():
    with pytest.raises(ValueError, match="2 names but 1 colours"):
        Palette(["a", "b"], [(0, 0, 0)])


def test_categories_of_the_model():
    entries = [
        SimpleNamespace(name=name, color=(9 * i, 8, 7), isthing=isthing)
        for i, (name, isthing) in enumerate([("sky", False), ("nut", True), ("rug", False)])
    ]
    palette = Palette.from_categories(entry for entry in entries)
    assert palette.names == ["sky", "nut", "rug"] and palette.thing_ids == {1}
    assert palette.colors == [(0, 8, 7), (9, 8, 7), (18, 8, 7)]


@pytest.mark.parametrize(
    ("color", "number", "expected"),
    [
        # Hue -11 degrees: from red to the side of blue; bright colours get paler.
        ((200, 0, 0), 2, (250, 0, 45)),
        ((255, 0, 0), 2, (255, 51, 88)),
        ((255, 0, 0), 1, (184, 33, 0)),
        # From magenta on past red.
        ((200, 0, 30), 3, (172, 26, 0)),
    ],
)
def test_a_shade_is_a_turned_hue_and_another_brightness(color, number, expected):
    assert Palette(["a"], [color]).shade(0, number) == pytest.approx(expected, abs=1)
