"""Reading the names of masks by a pattern."""

import pytest

from detr_d2.conversion.formats.matching import (
    Match,
    Pattern,
    describe_matches,
    image_keys,
    masks_by_image,
)

IMAGES = image_keys(["site1.jpg", "site12.jpg", "b/x.jpg"])


@pytest.mark.parametrize(
    ("pattern", "mask", "expected"),
    [
        ("{image}_{class}_{n}", "site1_wheel_loader_1.png", ("site1.jpg", "wheel_loader", "1")),
        (
            "{image}_{class}_{n}",
            "site12_big_pump_07.png",
            ("site12.jpg", "big_pump", "07"),
        ),
        ("{image}/{class}_{n}", "b/x/big nut_3.png", ("b/x.jpg", "big nut", "3")),
        ("{class}_{n}_{image}", "wheel_loader_2_site1.png", ("site1.jpg", "wheel_loader", "2")),
        ("{image}_{class}{n}", "site1_car12.png", ("site1.jpg", "car", "12")),
        ("{image}_{n:*}", "site1_left-3f.png", ("site1.jpg", None, "left-3f")),
        ("{image}_{class}", "site1_a_b.png", ("site1.jpg", "a_b", None)),
        ("{class}/{image}", "sky/x.png", ("b/x.jpg", "sky", None)),
        ("{image}_m.PNG", "site1_m.png", ("site1.jpg", None, None)),
    ],
)
def test_names_are_read(pattern, mask, expected):
    match = Pattern(pattern).find(mask, IMAGES)
    assert match is not None
    assert (match.image, match.label, match.number) == expected


@pytest.mark.parametrize(
    ("pattern", "mask"),
    [
        # No number: "concrete" is not the class and "mixer_machine" not its number.
        ("{image}_{class}_{n}", "site1_concrete_mixer_machine.png"),
        ("{image}.png", "site1.jpg"),
        ("{image}_{class}", "site1.png"),
    ],
)
def test_names_of_another_kind_are_not_read(pattern, mask):
    assert Pattern(pattern).find(mask, IMAGES) is None
    assert not Pattern(pattern).describes(mask)


def test_a_name_with_two_readings_is_rejected_with_both():
    pattern = Pattern("{image}_{class}_{n:*}")
    with pytest.raises(
        ValueError, match=r"'wheel' and 'loader_1', or as class 'wheel_loader' and '1'"
    ):
        pattern.find("site1_wheel_loader_1.png", IMAGES)
    # Declared classes leave one reading.
    match = Pattern("{image}_{class}_{n:*}", ["wheel", "wheel_loader"]).find(
        "site1_wheel_loader_1.png", IMAGES
    )
    assert match is not None
    assert (match.label, match.number) == ("wheel_loader", "1")


def test_the_longest_image_name_wins():
    match = Pattern("{image}_{class}").find("a_1_car.png", image_keys(["a.jpg", "a_1.jpg"]))
    assert match is not None
    assert (match.image, match.label) == ("a_1.jpg", "car")


@pytest.mark.parametrize("text", ["{image}_{n}_{n:*}", "{class}", "{image}{image}", "{image}_{x}"])
def test_faulty_patterns_are_rejected(text):
    with pytest.raises(ValueError, match="pattern"):
        Pattern(text)


def test_two_semantic_masks_of_one_image_are_rejected(tmp_path):
    for name in ("a.png", "a.gif"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.jpg: several masks.*a\.gif.*a\.png"):
        masks_by_image(str(tmp_path), "{image}", ["a.jpg"])


@pytest.mark.parametrize(
    ("pattern", "mask", "expected"),
    [
        # Where images lie in folders, so may their masks; "*" is anything, with folders.
        ("{image}_m", "b/x_m.png", ("b/x.jpg", None, None)),
        ("*/{image}", "a/c/site1.png", ("site1.jpg", None, None)),
        ("{image}*", "site1/9.png", ("site1.jpg", None, None)),
        ("{image}_{class}", "site1_a/b.png", None),
        ("{class}_{image}", "a/b_site1.png", None),
        ("{image}_{n}", "site1_2x.png", None),
        ("{image}.png", "site1.PNG", ("site1.jpg", None, None)),
        ("{image}.tiff", "site1.tif", None),
        # A dot that is no extension of masks is a part of the name.
        ("{image}.v2", "site1.v2.png", ("site1.jpg", None, None)),
        ("{image}.v2", "site1xv2.png", None),
        ("{image}(1)+", "site1(1)+.png", ("site1.jpg", None, None)),
        ("{image}", "other.png", None),
    ],
)
def test_names_are_read_or_not(pattern, mask, expected):
    match = Pattern(pattern).find(mask, IMAGES)
    assert (match and (match.image, match.label, match.number)) == expected


@pytest.mark.parametrize("names", [["car", "car_roof"], ["car_roof", "car"]])
def test_of_declared_classes_the_longest_is_read(names):
    pattern = Pattern("{image}_{class}*", names)
    labels = [pattern.find(f"site1_{name}.png", IMAGES).label for name in ("car_roof", "car_x")]
    assert labels == ["car_roof", "car"]


def test_declared_classes_are_read_as_they_are_written():
    pattern = Pattern("{image}_{class}", ["a.b", "c+"])
    assert pattern.find("site1_a.b.png", IMAGES).label == "a.b"
    assert pattern.find("site1_c+.png", IMAGES).label == "c+"
    assert pattern.find("site1_axb.png", IMAGES) is None


@pytest.mark.parametrize(
    ("images", "keys"),
    [
        (["a/x.jpg", "b/x.jpg"], {"a/x": "a/x.jpg", "b/x": "b/x.jpg"}),
        (
            ["a/x.jpg", "b/y.jpg"],
            {"a/x": "a/x.jpg", "x": "a/x.jpg", "b/y": "b/y.jpg", "y": "b/y.jpg"},
        ),
        # A path comes before a bare name, and of two extensions the first.
        (["x.jpg", "x.png"], {"x": "x.jpg"}),
        (["x.jpg", "a/x.png"], {"x": "x.jpg", "a/x": "a/x.png"}),
    ],
)
def test_what_an_image_may_be_called(images, keys):
    assert image_keys(images) == keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{image}_{klass}", r"'\{image\}_\{klass\}': \['\{klass\}'\]; allowed: \['\{image\}', "),
        (
            "{image}{class}{class}",
            r"\{image\} must be there once, \{class\} and \{n\} at most once",
        ),
        ("{image}{n}{n}", r"\{image\} must be there once"),
        ("{image}{n:*}{n:*}", r"\{image\} must be there once"),
        ("", r"pattern '': \{image\} must be there once"),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        Pattern(text)


def test_a_table_of_matches():
    matches = [Match("a_nut_1.png", "a.jpg", "nut", "1"), Match("b.png", "b.jpg", None, None)]
    lines = ["mask         image  class  n", "a_nut_1.png  a.jpg  nut    1", "b.png        b.jpg"]
    assert describe_matches(matches).splitlines() == lines
    assert describe_matches(matches, 2).splitlines() == lines
    matches += matches
    more = "... and 2 more (--show-matches)"
    assert describe_matches(matches, 2).splitlines() == [*lines, more]
    assert describe_matches(matches[:3], 2).splitlines()[-1] == "... and 1 more (--show-matches)"
