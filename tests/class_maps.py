"""Images with class maps, and their conversion."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.report import ConversionReport


def write_class_maps(root: Path, count: int) -> None:
    """Write `images` and `masks`, each of another size: a nut on the ground."""
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(count):
        values = np.zeros((12 + number, 20), np.uint8)
        values[2 : 4 + number] = 1
        Image.fromarray(values).save(root / f"masks/{number}.png")
        Image.fromarray(np.stack([values * 200] * 3, -1)).save(root / f"images/{number}.jpg")


def convert_class_maps(root: Path, out: Path, **options: Any) -> ConversionReport:
    """Convert what `write_class_maps` wrote."""
    folders = {name: str(root / name) for name in ("images", "masks")}
    source = open_format("semantic-png", **folders, values="0=ground,1=nut")
    return convert_set(source, out, **options)
