"""A COCO-panoptic set taken apart into every annotation format, and converted back, is the same."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from converted_sets import Result, save_image, save_mask
from PIL import Image
from pycocotools import mask as coco_mask

from detr_d2.conversion.rasterize import Rules
from detr_d2.data.coco_writer import describe_segments, write_id_png
from detr_d2.ops.coco_instances import outlines

# Segment id: (class, thing). Stuff of category 3 and 4, things of 1 and 2.
SEGMENTS = {10: "nut", 700: "nut", 70000: "leaf", 5: "wall", 6: "floor"}
CATEGORIES = [
    {"id": 1, "name": "nut", "isthing": 1},
    {"id": 2, "name": "leaf", "isthing": 1},
    {"id": 3, "name": "wall", "isthing": 0},
    {"id": 4, "name": "floor", "isthing": 0},
]
NAMES = [c["name"] for c in CATEGORIES]
STUFF = ("wall", "floor")
EXACT = Rules(min_area=0, order="annotation")


def id_maps() -> dict[str, np.ndarray]:
    a = np.full((18, 26), 5, np.int32)
    a[9:] = 6
    a[3:8, 3:9], a[5, 5] = 10, 5  # with a hole
    a[10:14, 2:6], a[4:12, 14:17], a[7, 12:14] = 700, 70000, 70000
    a[:, 24:] = 0
    b = np.full((22, 14), 6, np.int32)
    b[2:7, 3:6], b[12:15, 1:12] = 70000, 700
    return {"a.jpg": a, "deep/b.png": b}


@pytest.fixture
def origin(tmp_path: Path) -> Result:
    """The set in COCO-panoptic annotation format."""
    root = tmp_path / "origin"
    ids = {c["name"]: c["id"] for c in CATEGORIES}
    images, annotations = [], []
    for number, (name, id_map) in enumerate(id_maps().items(), start=1):
        save_image(root / "images" / name, id_map.shape, number)
        png = Path(name).with_suffix(".png")
        write_id_png(root / "panoptic" / png, id_map)
        height, width = id_map.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        segments = describe_segments(id_map, {i: ids[label] for i, label in SEGMENTS.items()})
        entry = {"image_id": number, "file_name": str(png), "segments_info": segments}
        annotations.append(entry)
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / "panoptic.json").write_text(json.dumps(content))
    return Result(root, None)


def write_semantic(root: Path, void: int = 9) -> None:
    for name, id_map in id_maps().items():
        values = np.full(id_map.shape, void, np.uint8)
        for number, label in SEGMENTS.items():
            values[id_map == number] = NAMES.index(label)  # nut is 0
        save_mask((root / "semantic" / name).with_suffix(".png"), values)


def semantic_png(root: Path) -> dict:
    write_semantic(root)
    values = ",".join(f"{i}={name}" for i, name in enumerate(NAMES))
    options = {"annotation_format": "semantic-png", "masks": str(root / "semantic")}
    return options | {"values": values, "void": (9,), "things": ("nut", "leaf")}


def each_mask():
    for name, id_map in id_maps().items():
        for number, label in SEGMENTS.items():
            if (id_map == number).any():
                yield name, number, label, id_map == number


def suffix_masks(root: Path) -> dict:
    merged: dict[tuple[str, str], np.ndarray] = {}
    for name, _, label, mask in each_mask():
        merged[name, label] = merged.get((name, label), np.zeros_like(mask)) | mask
    for (name, label), mask in merged.items():
        stem = Path(name).with_suffix("")
        save_mask(root / "suffix" / f"{stem}_{label}.png", mask.astype(np.uint8) * 255)
    options = {
        "annotation_format": "binary-masks",
        "masks": str(root / "suffix"),
        "pattern": "{image}_{class}",
    }
    return options | {"things": ("nut", "leaf"), "min_area": 0}


def folder_masks(root: Path) -> dict:
    suffix_masks(root)
    for path in list((root / "suffix").rglob("*.png")):
        image, label = path.stem.rsplit("_", 1)
        inside = path.parent.relative_to(root / "suffix")
        target = root / "folders" / label / inside / f"{image}.PNG"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    options = {
        "annotation_format": "binary-masks",
        "masks": str(root / "folders"),
        "pattern": "{class}/{image}",
    }
    return options | {"things": ("nut", "leaf"), "min_area": 0}


def instance_masks(root: Path) -> dict:
    for name, number, label, mask in each_mask():
        path = root / "instances" / Path(name).with_suffix("") / f"{label}_{number}.png"
        save_mask(path, mask)
    options = {"annotation_format": "binary-masks", "masks": str(root / "instances")}
    return options | {"pattern": "{image}/{class}_{n}", "isthing": True, "stuff": STUFF}


def instance_ids(root: Path) -> dict:
    write_semantic(root)
    for name, id_map in id_maps().items():
        numbers = np.where(id_map >= 10, id_map % 65536, 0).astype(np.uint16)
        save_mask((root / "ids" / name).with_suffix(".png"), numbers)
    options = semantic_png(root) | {"annotation_format": "instance-ids", "masks": str(root / "ids")}
    return options | {"semantic": str(root / "semantic"), "background": ()}


def coco_json(root: Path, shape: Callable) -> dict:
    names = list(id_maps())
    images = [{"id": i, "file_name": Path(name).name} for i, name in enumerate(names)]
    for image, id_map in zip(images, id_maps().values(), strict=True):
        image["height"], image["width"] = id_map.shape
    annotations = [
        {
            "id": i,
            "image_id": names.index(name),
            "category_id": NAMES.index(label),
            "segmentation": shape(mask),
            "iscrowd": 0,
        }
        for i, (name, _, label, mask) in enumerate(each_mask())
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "coco.json").write_text(json.dumps(content))
    return {
        "annotation_format": "coco-json",
        "annotations": str(root / "coco.json"),
        "stuff": STUFF,
    }


def packed(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def plain_rle(mask: np.ndarray) -> dict:
    runs, value = [], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value or not runs:
            if not runs and pixel:
                runs.append(0)
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return {"size": list(mask.shape), "counts": runs}


def coco_and_semantic(root: Path) -> dict:
    options = coco_json(root, packed)
    content = json.loads((root / "coco.json").read_text())
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] < 2]
    content["categories"] = content["categories"][:2]
    (root / "coco.json").write_text(json.dumps(content))
    semantic = semantic_png(root)
    keys = ("values", "void")
    options |= {key: semantic[key] for key in keys}
    return options | {"semantic": str(root / "semantic"), "background": ()}


def labelme(root: Path, as_mask: bool) -> dict:
    for name, id_map in id_maps().items():
        shapes = []
        for number, label in SEGMENTS.items():
            mask = id_map == number
            if not mask.any():
                continue
            common = {"label": label, "group_id": number, "flags": {}}
            if as_mask:
                rows, columns = np.nonzero(mask)
                top, left, low, right = rows.min(), columns.min(), rows.max(), columns.max()
                stream = io.BytesIO()
                Image.fromarray(mask[top : low + 1, left : right + 1]).save(stream, "PNG")
                points = [[int(left), int(top)], [int(right), int(low)]]
                text = base64.b64encode(stream.getvalue()).decode()
                shapes.append({**common, "shape_type": "mask", "points": points, "mask": text})
            for polygon in [] if as_mask else outlines(mask):
                points = np.reshape(polygon, (-1, 2)).tolist()
                shapes.append({**common, "shape_type": "polygon", "points": points})
        path = (root / "images" / name).with_suffix(".json")
        content = {"version": "5.0.0", "shapes": shapes, "imagePath": Path(name).name}
        path.write_text(json.dumps(content | {"imageData": None}))
    return {"annotation_format": "labelme", "folder": str(root / "images"), "stuff": STUFF}


FORMATS = {
    "semantic PNG": semantic_png,
    "mask per class, folders": folder_masks,
    "mask per class, suffixes": suffix_masks,
    "mask per instance": instance_masks,
    "instance and semantic PNG": instance_ids,
    "COCO polygons": lambda root: coco_json(root, outlines),
    "COCO RLE": lambda root: coco_json(root, packed),
    "COCO plain RLE": lambda root: coco_json(root, plain_rle),
    "COCO and semantic PNG": coco_and_semantic,
    "labelme polygons": lambda root: labelme(root, as_mask=False),
    "labelme masks": lambda root: labelme(root, as_mask=True),
}


@pytest.mark.parametrize("annotation_format", FORMATS)
def test_there_and_back(origin, converted, annotation_format):
    options = FORMATS[annotation_format](origin.folder)
    if "folder" not in options:
        options["images"] = str(origin.folder / "images")

    result = converted(options.pop("annotation_format"), EXACT, **options)

    for name in id_maps():
        assert result.masks(name) == origin.masks(name)
    assert {c["name"]: c["isthing"] for c in result.content["categories"]} == {
        c["name"]: c["isthing"] for c in CATEGORIES
    }
    assert result.report.skipped == []


def test_one_class_alone(origin, converted):
    for name, id_map in id_maps().items():
        path = (origin.folder / "nuts" / name).with_suffix(".png")
        save_mask(path, np.isin(id_map, (10, 700)))
    folders = {"images": str(origin.folder / "images"), "masks": str(origin.folder / "nuts")}
    result = converted("binary-masks", EXACT, label="nut", isthing=True, min_area=0, **folders)
    for name in id_maps():
        assert result.masks(name) == [pair for pair in origin.masks(name) if pair[0] == "nut"]


def test_coco_panoptic_itself_with_a_crowd(tiny_set, converted):
    paths = tiny_set.paths()
    result = converted(
        "coco-panoptic",
        EXACT,
        panoptic_json=str(paths["panoptic_json"]),
        images=str(paths["image_root"]),
        masks=str(paths["panoptic_root"]),
    )
    before = Result(tiny_set.root, None)
    for name in before.images:
        assert result.masks(name) == before.masks(name)
    assert [s["category_id"] for s in result.segments("a.jpg") if s["iscrowd"]] == [2]
    assert result.ids("a.jpg").max() == 4
