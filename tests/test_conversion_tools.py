"""convert_masks.py and check_dataset.py, and the commands that docs/DATASETS.md gives."""

import importlib
import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from converted_sets import save_image, save_mask

ROOT = Path(__file__).parents[1]
convert_masks = importlib.import_module("convert_masks")
check_dataset = importlib.import_module("check_dataset")


@pytest.fixture
def source(tmp_path: Path) -> list[str]:
    """Two images with masks and a third without; the arguments of convert_masks.py."""
    for number in range(3):
        save_image(tmp_path / f"images/{number}.jpg", (30, 40), number)
    for number in range(2):
        values = np.zeros((30, 40), np.uint8)
        values[4:20, 5 + number : 30] = 255
        save_mask(tmp_path / f"masks/{number}.png", values)
    arguments = ["binary-masks", "--images", str(tmp_path / "images"), "--class", "crack"]
    arguments += [
        "--masks",
        str(tmp_path / "masks"),
        "--background-class",
        "road",
        "--workers",
        "1",
    ]
    return [*arguments, "--workers", "1", "--out", str(tmp_path / "out")]


def test_convert_then_check_then_break_then_fix(source, tmp_path, capsys):
    assert convert_masks.main(source) == convert_masks.EXIT_SKIPPED
    shown = capsys.readouterr().out
    assert re.search(r"crack +2 +2\n", shown)
    assert "2.jpg: no mask file belongs to it" in shown
    assert (tmp_path / "out/sheet.jpg").stat().st_size > 1000

    assert check_dataset.main([str(tmp_path / "out")]) == 0

    path = tmp_path / "out/panoptic.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"][0]["area"] = 1
    path.write_text(json.dumps(content))
    fixed = tmp_path / "fixed"
    assert check_dataset.main([str(tmp_path / "out"), "--fix", str(fixed)]) == 1
    assert "ERROR wrong area (1)" in capsys.readouterr().out
    arguments = ["--set", str(tmp_path / "out/images"), str(fixed / "panoptic")]
    assert check_dataset.main([*arguments, str(fixed / "panoptic.json")]) == 0


def test_a_picture_for_which_there_is_no_room_is_one_line(source, tmp_path, capsys, monkeypatch):
    def full(path, picture):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(convert_masks, "save_picture", full)
    assert convert_masks.main(source) == convert_masks.EXIT_NO_PICTURE
    shown = capsys.readouterr()
    assert f"written: {tmp_path / 'out'}" in shown.out
    assert shown.err.startswith(
        "error: the set is written, its picture is not: [Errno 28] No space"
    )
    assert (tmp_path / "out/panoptic.json").is_file()


def test_dry_run_writes_nothing(source, tmp_path, capsys):
    assert convert_masks.main([*source, "--dry-run"]) == convert_masks.EXIT_SKIPPED
    assert "nothing written" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_reading_of_names_is_shown(tmp_path, capsys):
    for number in range(7):
        save_image(tmp_path / f"images/s{number}.jpg", (30, 40), number)
        mask = np.full((30, 40), 255, np.uint8)
        save_mask(tmp_path / f"masks/s{number}_wheel_loader_1.png", mask)
    arguments = ["binary-masks", "--images", str(tmp_path / "images"), "--workers", "1"]
    arguments += ["--masks", str(tmp_path / "masks"), "--pattern", "{image}_{class}_{n}"]
    arguments += ["--out", str(tmp_path / "out"), "--dry-run"]
    assert convert_masks.main(arguments) == 0
    shown = capsys.readouterr().out
    assert re.search(r"s0_wheel_loader_1.png +s0.jpg +wheel_loader +1\n", shown)
    assert "... and 2 more (--show-matches)" in shown
    assert convert_masks.main([*arguments, "--show-matches"]) == 0
    assert "s6_wheel_loader_1.png" in capsys.readouterr().out


def test_a_guess_is_a_command_that_converts(source, tmp_path, capsys):
    assert convert_masks.main(["guess", str(tmp_path)]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    arguments = shlex.split(line)[2:]
    assert arguments[0] == "binary-masks"
    arguments[arguments.index("NAME")] = "crack"
    arguments[arguments.index("DIR")] = str(tmp_path / "guessed")
    assert convert_masks.main([*arguments, "--workers", "1"]) == convert_masks.EXIT_SKIPPED
    assert convert_masks.main(["guess", "/nowhere"]) == convert_masks.EXIT_NOTHING


def write_scenes(root: Path, scenes: int) -> list[str]:
    """Images 0a.jpg, 0b.jpg, ...: each scene as taken, brighter, smaller and moved by a pixel."""
    for scene in range(scenes):
        cells = np.random.default_rng(scene).integers(20, 230, (5, 7, 3), dtype=np.uint8)
        image = cv2.resize(cells, (160, 120), interpolation=cv2.INTER_CUBIC)
        variants = [image, cv2.add(image, (9, 9, 9, 0)), cv2.resize(image, (120, 90))]
        variants.append(np.roll(image, 1, axis=1))
        for letter, pixels in zip("abcd", variants, strict=True):
            save_mask(root / f"images/{scene}{letter}.jpg", pixels, quality=70)
            mask = np.full(pixels.shape[:2], 255, np.uint8)
            save_mask(root / f"masks/{scene}{letter}.png", mask)
    folders = ["--images", str(root / "images"), "--masks", str(root / "masks")]
    return ["binary-masks", "--class", "crack", *folders, "--workers", "1", "--no-sheet"]


def parts_of_scenes(out: Path) -> dict[str, set[str]]:
    """For every scene the parts that its images are in."""
    parts: dict[str, set[str]] = {}
    for part in ("train", "val"):
        content = json.loads((out / f"panoptic_{part}.json").read_text())
        for image in content["images"]:
            parts.setdefault(image["file_name"][0], set()).add(part)
    return parts


def test_images_that_look_alike_stay_together_in_a_split(tmp_path, capsys):
    arguments = write_scenes(tmp_path, 6)
    arguments += ["--split", "0.5", "--seed", "1", "--out"]
    apart, together = tmp_path / "apart", tmp_path / "together"
    assert convert_masks.main([*arguments, str(apart)]) == 0
    assert convert_masks.main([*arguments, str(together), "--group-by", "perceptual-hash"]) == 0

    found = parts_of_scenes(together)
    assert sorted(map(sorted, found.values())) == [["train"]] * 3 + [["val"]] * 3
    assert {"train", "val"} in parts_of_scenes(apart).values()
    # And the check, which looks for such images across parts, agrees.
    assert check_dataset.main([str(together), "--strict"]) == 0
    assert check_dataset.main([str(apart), "--strict"]) == 1
    # The parts of a folder are one set: neither misses the images of the other, both are repaired.
    capsys.readouterr()
    fixed = tmp_path / "fixed"
    assert check_dataset.main([str(together), "--quiet", "--fix", str(fixed)]) == 0
    printed, bars = capsys.readouterr()
    assert "image not listed" not in printed and bars == ""
    assert sorted(path.name for path in fixed.glob("*.json")) == [
        "panoptic_train.json",
        "panoptic_val.json",
    ]


def test_a_wrong_folder_is_one_line(source, capsys):
    source[source.index("--masks") + 1] = "/nowhere"
    assert convert_masks.main(source) == convert_masks.EXIT_NOTHING
    assert capsys.readouterr().err.strip() == "error: /nowhere: no such folder"
    assert check_dataset.main(["/nowhere"]) == 2


def commands() -> list[str]:
    text = (ROOT / "docs/DATASETS.md").read_text().replace("\\\n", " ")
    return re.findall(r"^python tools/((?:convert_masks|check_dataset)\.py .*)$", text, re.M)


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_guide_are_understood(command):
    tool, *arguments = shlex.split(command)
    module = {"convert_masks.py": convert_masks, "check_dataset.py": check_dataset}[tool]
    module.argument_parser().parse_args(arguments)
