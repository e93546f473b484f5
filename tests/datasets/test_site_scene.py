import numpy as np
import pytest


@pytest.fixture
def scene(script):
    return script("building_site.scene")


def make(scene, number, width=96, height=80):
    return scene.synthesize(np.random.default_rng([3, number]), width, height)


def test_same_generator_same_image_and_another_another(scene):
    first, again, other = make(scene, 0), make(scene, 0), make(scene, 1)

    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("width", "height"), [(96, 80), (64, 101), (161, 64)])
def test_sizes_and_types(scene, width, height):
    image = make(scene, 5, width, height)

    assert image.image.shape == (height, width, 3)
    assert image.image.dtype == np.uint8
    assert image.labels.shape == (height, width)
    assert image.labels.dtype == np.int32


def test_a_small_size_is_rejected(scene):
    with pytest.raises(ValueError, match=r"100x63.*at least 64"):
        make(scene, 0, 100, 63)


def test_one_to_six_things_each_segment_large_enough_to_be_seen(scene):
    counts = set()
    for number in range(40):
        image = make(scene, number)
        areas = np.bincount(image.labels.ravel(), minlength=len(image.classes) + 1)
        assert len(areas) == len(image.classes) + 1
        assert areas[1:].min() >= scene.MIN_PIXELS
        counts.add(sum(name in scene.THINGS for name in image.classes))
        stuff = [name for name in image.classes if name in scene.STUFF]
        assert len(stuff) == len(set(stuff))
    assert counts == {1, 2, 3, 4, 5, 6}


def test_all_classes_occur_and_light_varies(scene):
    images = [make(scene, number) for number in range(25)]

    assert {name for p in images for name in p.classes} == {*scene.STUFF, *scene.THINGS}
    brightness = [p.image.mean() for p in images]
    assert max(brightness) > 1.4 * min(brightness)


def test_things_hide_each_other_but_never_wholly(scene):
    rng = np.random.default_rng(0)
    hidden = 0
    for _ in range(30):
        things, labels = scene._place_things(
            rng, scene._light(rng), np.ones((80, 96), np.int32), scene.THINGS
        )
        seen = np.bincount(labels.ravel(), minlength=4 + len(things))[4:]
        full = np.array([scene._on_image(thing, labels.shape).sum() for thing in things])
        # The module measures a thing before it is shrunk, which rounds its edge differently.
        assert (seen >= 0.95 * scene.MIN_VISIBLE * full).all()
        hidden += int((seen < full).sum())
        # The last thing is in front of all others.
        assert seen[-1] == full[-1]
    assert hidden > 10


def test_labels_lie_on_what_is_rendered(scene):
    # A scene of one brick: its pixels are redder than all others, and its edge is where the label's
    # is, to a pixel.
    script_things = scene.RENDERERS["brick"]
    rng, light = np.random.default_rng(0), np.array([0.0, -0.6, 0.8])
    patch = script_things(rng, 60.0, light)
    thing = scene.Placed("brick", patch, 40, 30)
    enlarged, solid = np.zeros((120, 160, 3), np.float32), np.zeros((120, 160), bool)

    scene._render_thing(enlarged, solid, thing, light)

    covered = scene._on_image(thing, (60, 80))
    share = enlarged.max(axis=2).reshape(60, 2, 80, 2)
    made = (share > 0).mean(axis=(1, 3))
    assert np.array_equal(covered, made >= 0.5)
    assert covered.sum() == pytest.approx(patch.mask.sum() / 4, rel=0.05)


def test_a_pixel_is_covered_from_one_half_on(scene):
    mask = np.zeros((2, 6), bool)
    mask[0, 0] = mask[:, 2] = mask[:, 4] = mask[0, 5] = True  # one, two, three of four

    assert scene._half_covered(mask).tolist() == [[False, True, True]]


def test_small_segments_of_stuff_become_void(scene):
    labels = np.ones((20, 20), np.int32)
    labels[0, :39] = 2
    labels[10:] = 3

    found, classes = scene._number(labels, ["sky", "concrete", "soil"])

    assert classes == ["sky", "soil"]
    assert (found[0] == 0).all()
    assert (found[1:10] == 1).all()
    assert (found[10:] == 2).all()
