"""Speed and memory of the conversion of masks, on drawn images of 640x480."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import AnnotationFormat, open_format

import cv2
import numpy as np

HEIGHT, WIDTH, CLASSES, OBJECTS = 480, 640, 12, 10
IMAGES_A_LOOK = 20
FORMATS = ("semantic-png", "coco-json")


def draw_images(root: Path, count: int) -> None:
    """Images, semantic PNGs and a COCO JSON of polygons of about 40 corners."""
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for folder in ("images", "semantic"):
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
        pixels = cv2.applyColorMap(labels * 20, cv2.COLORMAP_JET)
        pixels = cv2.add(pixels, rng.integers(0, 40, pixels.shape, dtype=np.uint8))
        cv2.imwrite(str(root / f"images/{number:05d}.jpg"), pixels)
        cv2.imwrite(str(root / f"semantic/{number:05d}.png"), labels)
        image = {"id": number, "file_name": f"{number:05d}.jpg"}
        images.append({**image, "height": HEIGHT, "width": WIDTH})
    categories = [{"id": i, "name": f"class {i}"} for i in range(2, CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "coco.json").write_text(json.dumps(content))


def make_format(root: Path, name: str) -> AnnotationFormat:
    """The drawn images in one of the FORMATS."""
    folder = str(root / "images")
    if name == "coco-json":
        return open_format(name, annotations=str(root / "coco.json"), images=folder)
    return open_format(
        name,
        images=folder,
        masks=str(root / "semantic"),
        values="0=sky,1=ground," + ",".join(f"{i}=class {i}" for i in range(2, CLASSES)),
        things=tuple(f"class {i}" for i in range(2, CLASSES)),
    )


def measure_conversion(count: int, workers: int) -> dict[str, Any]:
    """Images a second by wall clock, and memory, of every format in a process of its own."""
    report: dict[str, Any] = {"images": count, "workers": workers, "size": [HEIGHT, WIDTH]}
    with tempfile.TemporaryDirectory() as folder:
        draw_images(Path(folder), count)
        for name in FORMATS:
            command = [sys.executable, __file__, folder, name, str(workers)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            report[name] = json.loads(output)
    return report


def measure_format(root: Path, name: str, workers: int) -> dict[str, Any]:
    """Convert one annotation format of the drawn images.

    Returns:
        Images a second; and in MiB the most memory that this process held before, that it held to
        the end, and that the largest worker held.
    """
    before, largest = peak_memory(os.getpid()), 0

    def look(done: int, total: int) -> None:
        nonlocal largest
        if done % IMAGES_A_LOOK == 0 or done == total:
            peaks = [peak_memory(child.pid) for child in active_children() if child.pid]
            largest = max(largest, *peaks, 0)

    annotation_format = make_format(root, name)
    start = time.perf_counter()
    convert_set(annotation_format, root / f"out-{name}", workers=workers, progress=look)
    seconds = time.perf_counter() - start
    peaks = {"before": before, "main": peak_memory(os.getpid()), "worker": largest}
    speed = round(len(annotation_format.samples) / seconds, 1)
    return {"images_a_second": speed, "peak_memory_mib": peaks}


def peak_memory(process: int) -> int:
    """The most memory that a process has held so far, MiB."""
    # getrusage would count what the process held that has started it.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return round(int(found[1]) / 2**10) if found else 0


if __name__ == "__main__":
    print(json.dumps(measure_format(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
