#!/usr/bin/env python
"""Write the sets beside this file with the programs that define their formats.

    pip install datumaro cityscapesscripts label-studio-sdk supervisely
    python tests/foreign_sets/write_sets.py

in an environment of their own. The sets are small and kept with the tests, since these programs
need other versions of numpy. Each set shows the scene of `tests/foreign_scene.py`.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from foreign_scene import LABELS, SIZES, masks  # noqa: E402


def pixels(name):
    height, width = SIZES[name]
    return np.full((height, width, 3), 90, np.uint8)


def fresh(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def write_datumaro(name, kind, **options):
    """CVAT's XML and Pascal VOC, by datumaro."""
    import datumaro as dm

    items = []
    for image in SIZES:
        annotations = [
            dm.Mask(mask, label=LABELS.index(label), id=n, group=n, attributes={"occluded": False})
            for n, (label, mask) in enumerate(masks(image), start=1)
        ]
        media = dm.Image.from_numpy(data=pixels(image))
        items.append(dm.DatasetItem(image, subset="train", media=media, annotations=annotations))
    dataset = dm.Dataset.from_iterable(items, categories=list(LABELS))
    dataset.export(str(fresh(name)), kind, save_media=True, **options)


def write_cityscapes():
    """Polygons of Cityscapes, and the instances that its own scripts rasterize from them."""
    from cityscapesscripts.preparation.json2instanceImg import json2instanceImg

    folder = fresh("cityscapes")
    objects = [
        ("sky", [[0, 0], [63, 0], [63, 11], [0, 11]]),
        ("road", [[0, 20], [63, 20], [63, 31], [0, 31]]),
        ("car", [[3, 14], [20, 13.4], [22.6, 25], [4, 26]]),
        ("car", [[15, 16], [30, 16], [30, 24], [15, 24]]),
        ("cargroup", [[40, 14], [60, 14], [60, 22], [40, 22]]),
        ("static", [[50, 10], [55, 10], [55, 18], [50, 18]]),
        ("license plate", [[5, 22], [8, 22], [8, 24], [5, 24]]),
        ("person", [[33, 9], [36, 9], [36, 22], [33, 22]]),
        ("trailer", [[44, 24], [52, 24], [52, 30], [44, 30]]),
    ]
    content = {
        "imgHeight": 32,
        "imgWidth": 64,
        "objects": [{"label": label, "polygon": polygon} for label, polygon in objects],
    }
    stem = "ulm/ulm_000001_000019"
    truth, image = folder / "gtFine/train", folder / f"leftImg8bit/train/{stem}_leftImg8bit.png"
    for path in (truth / stem, image):
        path.parent.mkdir(parents=True)
    polygons = truth / f"{stem}_gtFine_polygons.json"
    polygons.write_text(json.dumps(content))
    json2instanceImg(str(polygons), str(truth / f"{stem}_gtFine_instanceIds.png"), "ids")
    Image.fromarray(np.full((32, 64, 3), 90, np.uint8)).save(image)


def write_label_studio():
    """Brush masks of Label Studio, packed by its own converter."""
    from label_studio_sdk.converter.brush import mask2rle

    folder = fresh("label_studio")
    (folder / "images").mkdir()
    tasks = []
    for number, name in enumerate(SIZES, start=1):
        height, width = SIZES[name]
        Image.fromarray(pixels(name)).save(folder / f"images/{name}.png")
        results = [
            {
                "id": f"r{n}",
                "type": "brushlabels",
                "from_name": "tag",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": [int(v) for v in mask2rle(mask.astype(np.uint8) * 255)],
                    "brushlabels": [label],
                },
            }
            for n, (label, mask) in enumerate(masks(name))
        ]
        url = f"/data/upload/1/0a1b2c3d-{name.replace(' ', '%20')}.png"
        annotation = {"id": number, "was_cancelled": False, "ground_truth": False}
        annotation["result"] = results
        tasks.append({"id": number, "data": {"image": url}, "annotations": [annotation]})
    (folder / "export.json").write_text(json.dumps(tasks))


def write_supervisely():
    """Bitmaps of Supervisely, by its own SDK."""
    import supervisely as sly

    folder = fresh("supervisely")
    classes = {label: sly.ObjClass(label, sly.Bitmap) for label in LABELS}
    meta = sly.ProjectMeta(obj_classes=sly.ObjClassCollection(list(classes.values())))
    (folder / "meta.json").write_text(json.dumps(meta.to_json()))
    for kind in ("img", "ann"):
        (folder / "ds 0" / kind).mkdir(parents=True)
    for name in SIZES:
        labels = [sly.Label(sly.Bitmap(mask), classes[label]) for label, mask in masks(name)]
        annotation = sly.Annotation(SIZES[name], labels)
        text = json.dumps(annotation.to_json())
        (folder / f"ds 0/ann/{name}.png.json").write_text(text)
        Image.fromarray(pixels(name)).save(folder / f"ds 0/img/{name}.png")


if __name__ == "__main__":
    write_datumaro("cvat", "cvat")
    write_datumaro("pascal_voc", "voc_segmentation", label_map="source")
    write_cityscapes()
    write_label_studio()
    write_supervisely()
