"""Proposals for folders of several formats; each is then carried out where it is complete."""

import json

import numpy as np
import pytest
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats.guess import _pattern_of, _sample, guess_format

SIZE = (30, 40)


@pytest.fixture
def images(tmp_path):
    """Three images below images/."""
    for number in range(3):
        save_image(tmp_path / f"images/site{number}.png", SIZE, number)
    return tmp_path


def blocks(*values: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint16 if max(values) > 255 else np.uint8)
    for row, value in enumerate(values):
        mask[3 * row : 3 * row + 2, 5:20] = value
    return mask


@pytest.mark.parametrize(
    ("names", "values", "format_name", "pattern"),
    [
        (["site{}"], (255,), "binary-masks", "{image}"),
        (["site{}_mask"], (1,), "binary-masks", "{image}_mask"),
        (["site{}_wheel_loader", "site{}_crane"], (255,), "binary-masks", "{image}_{class}"),
        (
            ["site{}_crane_1", "site{}_big_crane_2"],
            (255,),
            "binary-masks",
            "{image}_{class}_{n}",
        ),
        (["crane/site{}", "soil/site{}"], (255,), "binary-masks", "{class}/{image}"),
        (["site{}/1", "site{}/22"], (255,), "binary-masks", "{image}/{n}"),
        (["site{}_label"], (1, 2, 7), "semantic-png", "{image}_label"),
        (["site{}"], (1001, 2001, 2002), "instance-ids", "{image}"),
    ],
)
def test_masks(images, names, values, format_name, pattern):
    for number in range(3):
        for name in names:
            save_mask(images / f"masks/{name.format(number)}.png", blocks(*values))
    guess = guess_format(images)
    assert guess.arguments[0] == format_name
    assert ("--all-things" in guess.arguments) == ("{n}" in pattern)
    words = [word for word in guess.arguments if word != "--all-things"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--pattern"] == pattern
    assert options["--images"] == str(images / "images")
    assert options["--masks"] == str(images / "masks")
    if format_name == "semantic-png":
        assert options["--classes"] == "0=NAME0,1=NAME1,2=NAME2,7=NAME7"


def test_colours_and_masks_beside_their_images(tmp_path):
    for number in range(2):
        save_image(tmp_path / f"{number}.jpg", SIZE, number)
        colors = np.zeros((*SIZE, 3), np.uint8)
        colors[3:9] = 128, 64, 128
        colors[12:19] = 70, 130, 180
        save_mask(tmp_path / f"{number}.png", colors)
    guess = guess_format(tmp_path)
    assert guess.arguments[0] == "semantic-png"
    assert guess.arguments[-1] == "#000000=NAME,#804080=NAME,#4682b4=NAME"
    assert "{image}.png" in guess.arguments


def test_json_and_text_files(images):
    (images / "labels").mkdir()
    (images / "labels/site0.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (images / "data.yaml").write_text("names: [a]\n")
    assert guess_format(images).arguments == [
        "yolo", "--images", str(images / "images"), "--masks", str(images / "labels"),
        "--classes", str(images / "data.yaml"),
    ]  # fmt: skip
    coco = {"images": [], "annotations": [{"image_id": 1, "category_id": 1}], "categories": []}
    (images / "labels/all.json").write_text(json.dumps(coco))
    assert guess_format(images).arguments == [
        "coco-json", "--annotations", str(images / "labels/all.json"),
        "--images", str(images / "images"),
    ]  # fmt: skip
    (images / "labels/all.json").write_text(json.dumps({"shapes": []}))
    assert guess_format(images).arguments == ["labelme", "--folder", str(images)]


def test_what_is_not_recognized_is_said(images):
    assert guess_format(images).arguments == []
    assert guess_format(images).seen == ["3 .png", "3 images and 0 masks: both are needed"]
    (images / "via.json").write_text(json.dumps({"project": {}, "config": {}, "metadata": {}}))
    guess = guess_format(images)
    assert guess.arguments == []
    assert "via.json: VIA 3, which exports COCO JSON" in guess.seen


def test_files_are_counted_by_extension_the_most_frequent_first(images):
    (images / "a.txt").write_text("note")
    (images / "b.TXT").write_text("note")
    for name in "cdef":
        (images / f"{name}.xml").write_text("<x/>")
    assert guess_format(images).seen[0] == "4 .xml, 3 .png, 2 .txt"
    (images / "empty").mkdir()
    assert guess_format(images / "empty").seen[0] == "no files"


def ramp(count: int, first: int = 0) -> np.ndarray:
    """A mask of so many values."""
    values = first + np.arange(30 * 40) % count
    return values.reshape(SIZE).astype(np.uint8 if values.max() < 256 else np.uint16)


@pytest.mark.parametrize(
    ("mask", "format_name"),
    [
        (ramp(2), "binary-masks"),
        (ramp(3), "semantic-png"),
        (ramp(256), "semantic-png"),
        # What does not fit into 8 bits is no class.
        (ramp(3, first=253), "semantic-png"),
        (ramp(3, first=254), "instance-ids"),
        (ramp(3, first=65533), "instance-ids"),
        (ramp(256, first=1), "instance-ids"),
        (ramp(257), None),
    ],
    ids=["2", "3", "256", "to 255", "to 256", "to 65535", "256 to 256", "257"],
)
def test_how_many_values_a_mask_has(images, mask, format_name):
    for number in range(3):
        save_mask(images / f"masks/site{number}.png", mask)
    guess = guess_format(images)
    assert guess.arguments[:1] == ([format_name] if format_name else [])


@pytest.mark.parametrize(("count", "more"), [(20, ""), (21, " ...")])
def test_twenty_values_are_shown(images, count, more):
    save_mask(images / "masks/site0.png", ramp(count))
    guess = guess_format(images)
    listed = list(range(20))
    assert f"masks/site0.png: a mask; values of some: {listed}{more}" in guess.seen
    assert guess.arguments[-1] == ",".join(f"{value}=NAME{value}" for value in listed)
    assert guess.seen[-1].startswith("if the values are instances, not classes: instance-ids")


def test_one_plain_image_among_others_is_no_mask(images):
    """A black image and a damaged one: what the others are decides."""
    save_mask(images / "images/site3.png", np.zeros((*SIZE, 3), np.uint8))
    (images / "images/site4.png").write_bytes(b"damaged")
    assert guess_format(images).seen[-1] == "5 images and 0 masks: both are needed"
    save_mask(images / "masks/site0.png", blocks(1, 5))
    assert guess_format(images).arguments[0] == "semantic-png"


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a", "b"], "{image}"),
        (["mask_a", "mask_b"], "mask_{image}"),
        (["a_nut", "b_leaf"], "{image}_{class}"),
        (["a_1", "b_nut"], "{image}_{class}"),
        (["a_nut_1", "b_leaf"], "{image}_{class}"),
        (["a_nut_1", "b_nut_2"], "{image}_{class}_{n}"),
        (["a_1", "b_2"], "{image}_{n}"),
        (["a1", "b2"], "{image}{n}"),
        (["nut_a", "leaf_b"], "{class}_{image}"),
        (["nut_a_m", "leaf_b_m"], "{class}_{image}_m"),
        (["nut/a_1", "leaf/b_2"], "{class}/{image}*"),
        # An "a" is in "loader" too, and "a_2" is the longer name.
        (["b_loader", "a_loader"], "{image}_loader"),
        (["a_2_m", "a_m"], "{image}_m"),
        (["x_m"], "{image}"),
    ],
)
def test_patterns_of_names(names, pattern):
    assert _pattern_of(["a.jpg", "b.jpg", "a_2.jpg"], [f"{name}.png" for name in names]) == pattern


def test_files_are_looked_at_from_the_first_to_the_last():
    names = [str(number) for number in range(100)]
    looked = _sample(names)
    assert (looked[0], looked[-1], len(looked)) == ("0", "99", 6)
    assert _sample(names[:3]) == ["0", "1", "2"]
    assert _sample([]) == []


def test_json_of_each_kind(images):
    folder = str(images / "images")
    annotation = {"image_id": 1, "segments_info": []}
    panoptic = {"images": [], "annotations": [annotation], "categories": []}
    region = {"shape_attributes": {}, "region_attributes": {"a": "x", "b": "y"}}
    via = {"site0.png1": {"filename": "site0.png", "regions": [region]}}
    path = images / "truth.json"
    for content, arguments in (
        (panoptic, ["coco-panoptic", "--json", "", "--masks"]),
        (via, ["via", "--annotations", "", "--attribute"]),
        ([{"id": 1, "data": {}, "annotations": []}], ["label-studio", "--annotations", ""]),
    ):
        path.write_text(json.dumps(content))
        guess = guess_format(images)
        assert [guess.arguments[0], guess.arguments[1], "", *guess.arguments[5:6]] == arguments
        assert guess.arguments[2:5] == [str(path), "--images", folder]
    assert guess_format(images).seen[1] == "truth.json: Label Studio"
    path.write_text(json.dumps(panoptic))
    assert guess_format(images).arguments[-1] == str(images / "truth")
    # One that is broken does not hide the others.
    (images / "a.json").write_text("{")
    guess = guess_format(images)
    assert guess.arguments[0] == "coco-panoptic"
    assert guess.seen[1].startswith(f"{images}/a.json: not valid JSON")
    (images / "b.json").write_text(json.dumps({"shapes": []}))
    assert guess_format(images).arguments == ["labelme", "--folder", str(images)]


def test_the_first_file_of_a_kind_is_proposed_and_foreign_ones_are_told(images):
    coco = {"images": [], "annotations": [{"image_id": 1, "category_id": 1}], "categories": []}
    for name in ("train", "val"):
        (images / f"{name}.json").write_text(json.dumps(coco))
    assert guess_format(images).arguments[2] == str(images / "train.json")
    for name in ("train", "val"):
        (images / f"{name}.json").write_text(json.dumps(coco["annotations"]))
    guess = guess_format(images)
    assert guess.seen[3] == "convert it into COCO JSON with its own program first"


@pytest.mark.parametrize(
    ("yaml", "classes"),
    [("data.yml", "data.yml"), (None, "0=NAME,1=NAME"), ("b.txt", "0=NAME,1=NAME")],
)
def test_text_files_of_yolo(images, yaml, classes):
    (images / "labels/train").mkdir(parents=True)
    (images / "labels/train/site0.TXT").write_text("\ufeff0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (images / "labels/notes.txt").write_text("not YOLO\n")
    if yaml:
        (images / yaml).write_text("names: [a]\n")
    arguments = guess_format(images).arguments
    assert arguments[:1] + arguments[3:] == [
        "yolo", "--masks", str(images / "labels/train"),
        "--classes", str(images / classes) if yaml == classes else classes,
    ]  # fmt: skip
