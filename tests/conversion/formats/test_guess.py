"""Proposals for folders of several formats; each is then carried out where it is complete."""

import json

import numpy as np
import pytest
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats.guess import guess_format

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
