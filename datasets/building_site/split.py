"""The settings of one split of the embedded building-site data set, and one image of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from building_site.classes import BY_NAME, THINGS
from building_site.masks import write_masks
from building_site.scene import synthesize
from detr_d2.data.coco_writer import describe_segments, write_id_png
from detr_d2.utils.files import replacing

SPLITS = ("train", "val")
# Raised whenever the pixels change, so that earlier sets are made anew.
VERSION = 1
JPEG_QUALITY = 95


@dataclass(frozen=True)
class SplitSettings:
    """All that decides one split. `split` is its place in SPLITS, `count` its images.

    `things` are the classes that things are sampled from, `masks` those written as binary masks.
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
        """All that the images depend on."""
        content = {**asdict(self), "out": "", "drawing_version": VERSION}
        for name, default in (("things", THINGS), ("masks", ())):
            value = content.pop(name)
            # Sets made before these could be chosen say nothing of them.
            if value != default:
                content[name] = list(value)
        return content


def synthesize_one(settings: SplitSettings, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Synthesize and write one image; returns its entries in `images` and `annotations`."""
    cv2.setNumThreads(1)  # the images are made side by side already
    rng = np.random.default_rng([settings.seed, settings.split, number])
    scene = synthesize(rng, settings.width, settings.height, settings.things)
    ids = _segment_ids(rng, scene.classes)
    names = dict(zip(ids, scene.classes, strict=True))
    categories = {i: BY_NAME[name]["id"] for i, name in names.items()}
    id_map = np.array([0, *ids], np.int32)[scene.labels]
    stem = f"{number:06d}"
    root = Path(settings.out)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    with replacing(root / settings.name / f"{stem}.jpg") as temporary:
        cv2.imwrite(temporary, scene.image[..., ::-1], options)
    write_id_png(root / f"panoptic_{settings.name}" / f"{stem}.png", id_map)
    write_masks(root / f"masks_{settings.name}", stem, id_map, names, settings.masks)
    image = {
        "id": number + 1,
        "file_name": f"{stem}.jpg",
        "width": settings.width,
        "height": settings.height,
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
