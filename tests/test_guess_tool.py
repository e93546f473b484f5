"""`convert_masks.py guess`: the command that it prints converts the folder, pixel by pixel."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import convert_masks
import foreign_scene
import numpy as np
import pytest
from annotation_files import BOX, CORNERS, HEIGHT, SIZE, WIDTH, write
from converted_sets import Result, save_image, save_mask

from detr_d2.conversion.report import ConversionReport
from detr_d2.data.image_io import read_values

SETS = Path(__file__).resolve().parent / "foreign_sets"
# The class of every object, and its pixels.
Masks = list[tuple[str, bytes]]
Expected = dict[str, Masks]


def scene(folder: Path, suffix: str, below: str = "") -> Callable[[Path], tuple[Path, Expected]]:
    """A set that another program has written."""
    expected = {
        f"{below}{name}{suffix}": [(k, mask.tobytes()) for k, mask in foreign_scene.masks(name)]
        for name in foreign_scene.SIZES
    }
    return lambda _: (folder, expected)


def cityscapes(_: Path) -> tuple[Path, Expected]:
    stem = "ulm/ulm_000001_000019"
    numbers = read_values(SETS / f"cityscapes/gtFine/train/{stem}_gtFine_instanceIds.png")
    names = {7: "road", 23: "sky", 24: "person", 26: "car"}
    found = [(n // 1000 if n >= 1000 else n, n) for n in np.unique(numbers).tolist()]
    masks = [(names[k], (numbers == n).tobytes()) for k, n in found if k in names]
    return SETS / "cityscapes", {f"train/{stem}_leftImg8bit.png": masks}


def two_images(root: Path) -> None:
    save_image(root / "images/a.png", SIZE)
    save_image(root / "images/b.png", (17, 12))


ONE_NUT = {"a.png": [("nut", BOX.tobytes())], "b.png": []}


def labelme(root: Path) -> tuple[Path, Expected]:
    two_images(root)
    shape = {"label": "nut", "points": CORNERS, "shape_type": "polygon"}
    for name, shapes in (("a", [shape]), ("b", [])):
        write(root / f"images/{name}.json", {"shapes": shapes, "imagePath": f"{name}.png"})
    return root, {f"images/{name}": masks for name, masks in ONE_NUT.items()}


def via(root: Path) -> tuple[Path, Expected]:
    two_images(root)
    xs, ys = zip(*CORNERS, strict=True)
    polygon = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    regions = [{"shape_attributes": polygon, "region_attributes": {"kind": "nut"}}]
    files = {f"{n}9": {"filename": n, "size": 9} for n in ("a.png", "b.png")}
    files["a.png9"]["regions"], files["b.png9"]["regions"] = regions, []
    write(root / "via.json", files)
    return root, ONE_NUT


def yolo(root: Path) -> tuple[Path, Expected]:
    two_images(root)
    sides = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in CORNERS)
    write(root / "labels/a.txt", f"1 {sides}\n")
    write(root / "labels/b.txt", "")
    write(root / "data.yaml", "names: [leaf, nut]\n")
    return root, ONE_NUT


def coco(root: Path) -> tuple[Path, Expected]:
    two_images(root)
    polygon = [side for corner in CORNERS for side in corner]
    content = {
        "images": [{"id": i, "file_name": f"{n}.png"} for i, n in ((7, "a"), (9, "b"))],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 4, "segmentation": [polygon]}],
        "categories": [{"id": 4, "name": "nut"}],
    }
    write(root / "instances.json", content)
    return root, ONE_NUT


def mask_per_object(root: Path) -> tuple[Path, Expected]:
    two_images(root)
    other = np.zeros((17, 12), bool)
    other[4:15, 6:8] = True
    named = {"a_wheel_loader_1": BOX, "a_crane_1": np.flipud(BOX), "a_crane_2": np.fliplr(BOX)}
    for name, mask in {**named, "b_wheel_loader_1": other}.items():
        save_mask(root / f"masks/{name}.png", mask.astype(np.uint8) * 255)
    a = [("wheel_loader", BOX), ("crane", np.flipud(BOX)), ("crane", np.fliplr(BOX))]
    masks = {"a.png": [(k, m.tobytes()) for k, m in a]}
    return root, {**masks, "b.png": [("wheel_loader", other.tobytes())]}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cvat", scene(SETS / "cvat", ".jpg")),
        ("pascal-voc", scene(SETS / "pascal_voc", ".jpg")),
        ("supervisely", scene(SETS / "supervisely", ".png", "ds 0/")),
        ("label-studio", scene(SETS / "label_studio", ".png")),
        ("cityscapes", cityscapes),
        ("labelme", labelme),
        ("via", via),
        ("yolo", yolo),
        ("coco-json", coco),
        ("binary-masks", mask_per_object),
    ],
)
def test_the_proposed_command_converts_the_folder(tmp_path, capsys, name, make):
    folder, expected = make(tmp_path / "my data")
    assert convert_masks.main(["guess", str(folder)]) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[:3] == ["python", "tools/convert_masks.py", name]
    assert "NAME" not in words, "nothing to complete"
    out = tmp_path / "out"
    arguments = [str(out) if word == "DIR" else word for word in words[2:]]
    assert convert_masks.main([*arguments, "--workers", "1", "--no-sheet"]) == 0

    report = json.loads((out / "conversion.json").read_text())
    result = Result(out, ConversionReport(images_in=report["images_in"]))
    found = {image.rsplit("__", 1)[-1]: result.masks(image) for image in result.images}
    assert found == {image: sorted(masks) for image, masks in expected.items()}


def test_what_is_left_to_complete_is_explained(tmp_path, capsys):
    """Several attributes of VIA, or none: nobody can know which one is the class."""
    root, _ = via(tmp_path)
    content = json.loads((root / "via.json").read_text())
    attributes = content["a.png9"]["regions"][0]["region_attributes"]
    attributes["state"] = "ripe"
    write(root / "via.json", content)
    assert convert_masks.main(["guess", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "the class is one of its attributes: kind, state" in shown
    assert "--attribute NAME" in shown
    attributes.clear()
    write(root / "via.json", content)
    assert convert_masks.main(["guess", str(root)]) == 0
    assert "--class NAME" in capsys.readouterr().out
