"""Images that EXIF turns on their side: annotations are aligned with them, or rejected."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_files import MAPILLARY, write
from converted_sets import save_image, save_mask
from PIL import Image, ImageOps
from random_panoptic import save_ids

from detr_d2.conversion.formats.pascal_voc import color_of
from detr_d2.conversion.rasterize import Rules

STORED = (18, 30)  # rows and columns of the file
ALL = Rules(min_area=0)


def blob(size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A rectangle that no turn or mirroring maps onto itself, and its x0, y0, x1, y1."""
    mask = np.zeros(size, bool)
    mask[2:6, 3:14] = True
    return mask, (3, 2, 14, 6)


def corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    x0, y0, x1, y1 = box
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


# Each writes the annotation of a.png for an image of a size, and returns the format's options.


def coco_polygon(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    polygon = [side for corner in corners(blob(size)[1]) for side in corner]
    return write_coco(root, size, [polygon])


def coco_rle(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    flat = blob(size)[0].ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=0))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return write_coco(root, size, {"size": list(size), "counts": counts})


def write_coco(root: Path, size: tuple[int, int], segmentation: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    content = {"images": [image], "annotations": [annotation]}
    path = write(root / "x.json", {**content, "categories": [{"id": 1, "name": "nut"}]})
    return {"annotations": path, "images": str(root / "images")}


def labelme(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    shape = {"label": "nut", "points": corners(blob(size)[1])}
    content = {"shapes": [shape], "imageHeight": size[0], "imageWidth": size[1]}
    write(root / "images/a.json", {**content, "imagePath": "a.png"})
    return {"folder": str(root / "images")}


def cvat(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    points = ";".join(f"{x},{y}" for x, y in corners(blob(size)[1]))
    text = f'<annotations><image id="0" name="a.png" width="{size[1]}" height="{size[0]}">'
    text += f'<polygon label="nut" points="{points}"/></image></annotations>'
    return {"annotations": write(root / "x.xml", text), "images": str(root / "images")}


def cvat_mask(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    text = f'<annotations><image id="0" name="a.png" width="{size[1]}" height="{size[0]}">'
    text += '<mask label="nut" rle="0,44" left="3" top="2" width="11" height="4"/>'
    path = write(root / "x.xml", text + "</image></annotations>")
    return {"annotations": path, "images": str(root / "images")}


def label_studio(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    points = [[100 * x / size[1], 100 * y / size[0]] for x, y in corners(blob(size)[1])]
    value = {"points": points, "polygonlabels": ["nut"]}
    result = {"id": "r", "type": "polygonlabels", "value": value, "image_rotation": 0}
    result |= {"original_height": size[0], "original_width": size[1]}
    annotation = {"result": [result], "was_cancelled": False}
    task = {"id": 1, "data": {"image": "/data/a.png"}, "annotations": [annotation]}
    return {"annotations": write(root / "x.json", [task]), "images": str(root / "images")}


def labelbox(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    points = [{"x": x, "y": y} for x, y in corners(blob(size)[1])]
    shape = {"name": "nut", "annotation_kind": "ImagePolygon", "polygon": points}
    label = {"label_kind": "Default", "annotations": {"objects": [shape]}}
    row = {
        "data_row": {"id": "c", "external_id": "a.png"},
        "media_attributes": {"height": size[0], "width": size[1]},
        "projects": {"p": {"name": "first", "labels": [label]}},
    }
    path = write(root / "x.ndjson", json.dumps(row))
    return {"annotations": path, "images": str(root / "images")}


def supervisely(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(np.ones((4, 11), bool)).save(buffer, "PNG")
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    bitmap = {"origin": [3, 2], "data": data}
    shape = {"classTitle": "nut", "geometryType": "bitmap", "bitmap": bitmap}
    content = {"size": {"height": size[0], "width": size[1]}, "objects": [shape]}
    write(root / "set/ds/ann/a.png.json", content)
    write(root / "set/meta.json", {"classes": [{"title": "nut"}], "tags": []})
    (root / "set/ds/img").mkdir(exist_ok=True)
    (root / "images/a.png").rename(root / "set/ds/img/a.png")
    return {"folder": str(root / "set")}


def pascal_voc(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    colors = {"SegmentationClass": color_of(15), "SegmentationObject": color_of(1)}
    for folder, color in colors.items():
        save_mask(root / folder / "a.png", blob(size)[0][..., None] * np.uint8(color))
    (root / "images").rename(root / "JPEGImages")
    return {"folder": str(root)}


def cityscapes(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = blob(size)[1]
    # Its own scripts rasterize the corners' pixels, too.
    polygon = corners((x0, y0, x1 - 1, y1 - 1))
    content = {"imgHeight": size[0], "imgWidth": size[1]}
    content |= {"objects": [{"label": "car", "polygon": polygon}]}
    write(root / "gtFine/train/ulm/a_gtFine_polygons.json", content)
    (root / "leftImg8bit/train/ulm").mkdir(parents=True)
    (root / "images/a.png").rename(root / "leftImg8bit/train/ulm/a_leftImg8bit.png")
    return {"folder": str(root)}


def mapillary(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    numbers = np.where(blob(size)[0], 1, 2 * 256).astype(np.uint16)
    save_mask(root / "training/v2.0/instances/a.png", numbers)
    write(root / "config_v2.0.json", MAPILLARY)
    (root / "images").rename(root / "training/images")
    return {"folder": str(root)}


def mapillary_panoptic(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    (root / "training").mkdir()
    write_panoptic(root, root / "training/v2.0/panoptic", size, "panoptic_2020.json")
    (root / "images").rename(root / "training/images")
    return {"folder": str(root)}


def coco_panoptic(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    path = write_panoptic(root, root / "masks", size, "p.json")
    return {
        "panoptic_json": path,
        "images": str(root / "images"),
        "masks": str(root / "masks"),
    }


def write_panoptic(root: Path, pngs: Path, size: tuple[int, int], name: str) -> str:
    save_ids(pngs / "a.png", np.where(blob(size)[0], 70000, 0).astype(np.int32))
    segments = [{"id": 70000, "category_id": 4, "iscrowd": 0}]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 4, "name": "nut", "isthing": 1}],
    }
    return write(pngs / name, content)


def ade20k(root: Path, size: tuple[int, int]) -> dict[str, Any]:
    save_mask(root / "annotations/a.png", blob(size)[0].astype(np.uint8))
    write(root / "objectInfo150.txt", "Idx\tName\tStuff\n1\tnut\t0\n")
    with Image.open(root / "images/a.png") as image:
        image.convert("RGB").save(root / "images/a.jpg", exif=image.getexif())
    (root / "images/a.png").unlink()
    return {"folder": str(root)}


WRITERS = {
    "coco-json": (coco_polygon, coco_rle),
    "labelme": (labelme,),
    "cvat": (cvat, cvat_mask),
    "label-studio": (label_studio,),
    "labelbox": (labelbox,),
    "supervisely": (supervisely,),
    "pascal-voc": (pascal_voc,),
    "cityscapes": (cityscapes,),
    "mapillary": (mapillary, mapillary_panoptic),
    "coco-panoptic": (coco_panoptic,),
    "ade20k": (ade20k,),
}
CASES = [(name, writer) for name, writers in WRITERS.items() for writer in writers]


def turned_image(root: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    save_image(root / "images/a.png", STORED, exif=exif)


def as_shown(mask: np.ndarray, orientation: int) -> np.ndarray:
    """A mask of the stored pixels, turned by PIL as a viewer turns the image."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as image:
        return np.asarray(ImageOps.exif_transpose(image)).astype(bool)


def only_mask(result) -> np.ndarray:
    """The object, or what is left beside the one stuff segment."""
    (name,) = result.images
    (segment,) = [s for s in result.segments(name) if result.names[s["category_id"]][-3:] != "sky"]
    return result.ids(name) == segment["id"]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize(("name", "writer"), CASES, ids=[w.__name__ for _, w in CASES])
def test_annotations_follow_their_image_or_are_rejected(
    tmp_path, converted, name, writer, orientation
):
    for said in ("upright", "stored"):
        root = tmp_path / said
        turned_image(root, orientation)
        size = STORED if said == "stored" else STORED[::-1]
        options = writer(root, size)
        mask = blob(size)[0]
        expected = as_shown(mask, orientation) if said == "stored" else mask
        found = only_mask(converted(name, ALL, **options, exif=said))
        np.testing.assert_array_equal(found, expected)
        # Read the other way round it does not fit, which no scaling may hide.
        other = "upright" if said == "stored" else "stored"
        for resize in (False, True):
            with pytest.raises(ValueError, match=f"use --exif {said}"):
                converted(name, ALL, **options, exif=other, resize=resize)
