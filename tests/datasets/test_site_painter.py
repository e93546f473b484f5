import numpy as np
import pytest


@pytest.fixture
def painter(script):
    return script("building_site.painter")


def paint(painter, number, width=96, height=80):
    return painter.paint_picture(np.random.default_rng([3, number]), width, height)


def test_same_generator_same_picture_another_another(painter):
    first, again, other = paint(painter, 0), paint(painter, 0), paint(painter, 1)

    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("width", "height"), [(96, 80), (64, 101), (161, 64)])
def test_sizes_and_types(painter, width, height):
    picture = paint(painter, 5, width, height)

    assert picture.image.shape == (height, width, 3)
    assert picture.image.dtype == np.uint8
    assert picture.labels.shape == (height, width)
    assert picture.labels.dtype == np.int32


def test_a_small_size_is_refused(painter):
    with pytest.raises(ValueError, match=r"100x63.*at least 64"):
        paint(painter, 0, 100, 63)


def test_one_to_six_things_each_segment_large_enough_to_be_seen(painter):
    counts = set()
    for number in range(40):
        picture = paint(painter, number)
        areas = np.bincount(picture.labels.ravel(), minlength=len(picture.classes) + 1)
        assert len(areas) == len(picture.classes) + 1
        assert areas[1:].min() >= painter.MIN_PIXELS
        counts.add(sum(name in painter.THINGS for name in picture.classes))
        stuff = [name for name in picture.classes if name in painter.STUFF]
        assert len(stuff) == len(set(stuff))
    assert counts == {1, 2, 3, 4, 5, 6}


def test_all_classes_occur_and_light_varies(painter):
    pictures = [paint(painter, number) for number in range(25)]

    assert {name for p in pictures for name in p.classes} == {*painter.STUFF, *painter.THINGS}
    brightness = [p.image.mean() for p in pictures]
    assert max(brightness) > 1.4 * min(brightness)


def test_things_hide_each_other_but_never_wholly(painter):
    rng = np.random.default_rng(0)
    hidden = 0
    for _ in range(30):
        things, labels = painter._place_things(
            rng, painter._light(rng), np.ones((80, 96), np.int32), painter.THINGS
        )
        seen = np.bincount(labels.ravel(), minlength=4 + len(things))[4:]
        full = np.array([painter._on_picture(thing, labels.shape).sum() for thing in things])
        # The painter measures a thing before it is shrunk, which rounds its edge differently.
        assert (seen >= 0.95 * painter.MIN_VISIBLE * full).all()
        hidden += int((seen < full).sum())
        # The last thing is in front of all others.
        assert seen[-1] == full[-1]
    assert hidden > 10


def test_labels_lie_on_what_is_drawn(painter):
    # A scene of one brick: its pixels are redder than the rest, and its edge is where the label's
    # is, to a pixel.
    script_things = painter.DRAWERS["brick"]
    rng, light = np.random.default_rng(0), np.array([0.0, -0.6, 0.8])
    patch = script_things(rng, 60.0, light)
    thing = painter.Placed("brick", patch, 40, 30)
    canvas, solid = np.zeros((120, 160, 3), np.float32), np.zeros((120, 160), bool)

    painter._paint_thing(canvas, solid, thing, light)

    covered = painter._on_picture(thing, (60, 80))
    share = canvas.max(axis=2).reshape(60, 2, 80, 2)
    drawn = (share > 0).mean(axis=(1, 3))
    assert np.array_equal(covered, drawn >= 0.5)
    assert covered.sum() == pytest.approx(patch.mask.sum() / 4, rel=0.05)


def test_a_pixel_is_covered_from_one_half_on(painter):
    mask = np.zeros((2, 6), bool)
    mask[0, 0] = mask[:, 2] = mask[:, 4] = mask[0, 5] = True  # one, two, three of four

    assert painter._half_covered(mask).tolist() == [[False, True, True]]


def test_specks_of_stuff_become_void(painter):
    labels = np.ones((20, 20), np.int32)
    labels[0, :39] = 2
    labels[10:] = 3

    found, classes = painter._number(labels, ["sky", "concrete", "soil"])

    assert classes == ["sky", "soil"]
    assert (found[0] == 0).all()
    assert (found[1:10] == 1).all()
    assert (found[10:] == 2).all()
