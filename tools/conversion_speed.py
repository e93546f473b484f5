"""How many photos a second the conversion of masks makes, on drawn photos of 640x480."""

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detr_d2.data.conversion import convert_set
from detr_d2.data.forms import Form, open_form

HEIGHT, WIDTH, CLASSES, OBJECTS = 480, 640, 12, 10


def draw_photos(root: Path, count: int) -> None:
    """Photos, semantic PNGs and a COCO JSON of polygons of about 40 corners."""
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for folder in ("photos", "semantic"):
        (root / folder).mkdir()
    for number in range(count):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[HEIGHT // 2 :] = 1
        for _ in range(OBJECTS):
            category = int(rng.integers(2, CLASSES))
            angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
            radii = rng.uniform(20, 90) * rng.uniform(0.8, 1.2, 40)
            center = rng.uniform((0, 0), (WIDTH, HEIGHT))
            points = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            points = points.clip(0, (WIDTH - 1, HEIGHT - 1))
            cv2.fillPoly(labels, [points.round().astype(np.int32)], category)
            annotation = {"id": len(annotations), "image_id": number, "category_id": category}
            annotations.append({**annotation, "segmentation": [points.ravel().tolist()]})
        photo = cv2.applyColorMap(labels * 20, cv2.COLORMAP_JET)
        photo = cv2.add(photo, rng.integers(0, 40, photo.shape, dtype=np.uint8))
        cv2.imwrite(str(root / f"photos/{number:05d}.jpg"), photo)
        cv2.imwrite(str(root / f"semantic/{number:05d}.png"), labels)
        image = {"id": number, "file_name": f"{number:05d}.jpg"}
        images.append({**image, "height": HEIGHT, "width": WIDTH})
    categories = [{"id": i, "name": f"class {i}"} for i in range(2, CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "coco.json").write_text(json.dumps(content))


def forms(root: Path) -> dict[str, Form]:
    """The forms to measure."""
    names = tuple(f"class {i}" for i in range(2, CLASSES))
    return {
        "semantic-png": open_form(
            "semantic-png",
            images=str(root / "photos"),
            masks=str(root / "semantic"),
            values="0=sky,1=ground," + ",".join(f"{i}=class {i}" for i in range(2, CLASSES)),
            things=names,
        ),
        "coco-json": open_form(
            "coco-json", annotations=str(root / "coco.json"), images=str(root / "photos")
        ),
    }


def measure_conversion(count: int, workers: int) -> dict[str, Any]:
    """Photos a second by wall clock, and the largest worker's memory in MiB."""
    report: dict[str, Any] = {"photos": count, "workers": workers, "size": [HEIGHT, WIDTH]}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw_photos(root, count)
        for name, form in forms(root).items():
            start = time.perf_counter()
            convert_set(form, root / f"out-{name}", workers=workers)
            seconds = time.perf_counter() - start
            report[name] = {"photos_a_second": round(count / seconds, 1)}
    who = resource.RUSAGE_CHILDREN if workers > 1 else resource.RUSAGE_SELF
    report["peak_memory_mib"] = round(resource.getrusage(who).ru_maxrss / 2**10)
    return report
