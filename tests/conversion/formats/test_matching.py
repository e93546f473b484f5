"""Reading the names of masks by a pattern."""

import pytest

from detr_d2.conversion.formats.matching import Pattern, image_keys, masks_by_image

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
