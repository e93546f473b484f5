"""What one split of the embedded building-site data set is made from, and one picture of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from building_site.classes import BY_NAME, THINGS
from building_site.masks import write_masks
from building_site.painter import paint_picture
from detr_d2.data.coco_writer import describe_segments, write_id_png
from detr_d2.utils.files import replacing

SPLITS = ("train", "val")
# Raised whenever the drawing changes, so that sets drawn before are drawn anew.
DRAWING_VERSION = 1
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Job:
    """What one split is made from. `split` is its place in SPLITS, `count` its pictures.

    `things` are the classes that things are drawn from, `masks` those written as binary masks.
    """

    out: str
    split: int
    count: int
    width: int
    height: int
    seed: int
    things: tuple[str, ...] = THINGS
    masks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return SPLITS[self.split]

    def fingerprint(self) -> dict[str, Any]:
        """All that the pictures depend on."""
        content = {**asdict(self), "out": "", "drawing_version": DRAWING_VERSION}
        for name, default in (("things", THINGS), ("masks", ())):
            value = content.pop(name)
            # Sets drawn before these could be chosen say nothing of them.
            if value != default:
                content[name] = list(value)
        return content


def draw_one(job: Job, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw and write one picture; returns its entries in `images` and `annotations`."""
    cv2.setNumThreads(1)  # the pictures are drawn side by side already
    rng = np.random.default_rng([job.seed, job.split, number])
    picture = paint_picture(rng, job.width, job.height, job.things)
    ids = _segment_ids(rng, picture.classes)
    names = dict(zip(ids, picture.classes, strict=True))
    categories = {i: BY_NAME[name]["id"] for i, name in names.items()}
    id_map = np.array([0, *ids], np.int32)[picture.labels]
    stem = f"{number:06d}"
    root = Path(job.out)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    with replacing(root / job.name / f"{stem}.jpg") as temporary:
        cv2.imwrite(temporary, picture.image[..., ::-1], options)
    write_id_png(root / f"panoptic_{job.name}" / f"{stem}.png", id_map)
    write_masks(root / f"masks_{job.name}", stem, id_map, names, job.masks)
    image = {
        "id": number + 1,
        "file_name": f"{stem}.jpg",
        "width": job.width,
        "height": job.height,
    }
    annotation = {
        "image_id": number + 1,
        "file_name": f"{stem}.png",
        "segments_info": describe_segments(id_map, categories),
    }
    return image, annotation


def _segment_ids(rng: np.random.Generator, names: list[str]) -> list[int]:
    """Distinct ids, each near its class's colour so that the PNG can be looked at as it is."""
    ids: list[int] = []
    while len(ids) < len(names):
        color = np.array(BY_NAME[names[len(ids)]]["color"]) + rng.integers(-25, 26, 3)
        red, green, blue = (int(value) for value in color.clip(1, 255))
        segment_id = red + 256 * green + 65536 * blue
        if segment_id not in ids:
            ids.append(segment_id)
    return ids
