#!/usr/bin/env python
"""Compare automatic labels with the full ground truth, where it is known.

python tools/label_quality.py --ground-truth PNGS JSON --custom PNGS JSON --labels PNGS JSON

One column for each --labels: accuracy of stuff, mean IoU, and leaks around the custom masks.
Images are matched by name, classes by name.
"""

import argparse
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import read_panoptic_json
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.pseudo_labels.label_quality import BAND, LabelQuality, class_map
from detr_d2.utils.files import path_below, reject_overwriting, write_json

import numpy as np
from tabulate import tabulate
from tqdm import tqdm


class Labels:
    """A COCO-panoptic set, of which only ids and class names matter."""

    def __init__(self, pngs: str, path: str) -> None:
        content = read_panoptic_json(path)
        self.path, self.root = path, Path(pngs)
        self.table = CategoryTable(content["categories"], path)
        names = {c.id: c.name for c in self.table.categories}
        stems = {
            i["id"]: Path(i["file_name"]).with_suffix("").as_posix() for i in content["images"]
        }
        self.images = {
            stems[a["image_id"]]: (
                a["file_name"],
                {s["id"]: names[s["category_id"]] for s in a["segments_info"]},
            )
            for a in content["annotations"]
        }

    def files(self) -> list[str]:
        """The JSON and all PNGs."""
        return [self.path, *(str(self.root / png) for png, _ in self.images.values())]

    def find(self, image: str) -> str | None:
        """The name here of an image of other labels, which may have the set's folder before it."""
        names = (image, image.partition("/")[2])
        return next((name for name in names if name in self.images), None)

    def read(self, image: str) -> tuple[Any, dict[int, str]]:
        """Segment ids (H, W), and the class name of each."""
        png, segments = self.images[image]
        return read_ids(path_below(self.root, png)), segments


def measure(
    ground_truth: Labels, custom: Labels, labels: Labels, band: int, quiet: bool = False
) -> dict[str, float]:
    """The figures of one set of labels, over the images of the ground truth that it has."""
    tables = (ground_truth.table, labels.table)
    names = tuple(dict.fromkeys(c.name for table in tables for c in table.categories))
    own = {c.name for c in custom.table.categories}
    things = {c.name for table in tables for c in table.categories if c.isthing} - own
    quality = LabelQuality(names, frozenset(things), band)
    missing = [image for image in sorted(labels.images) if ground_truth.find(image) is None]
    if missing:
        raise ValueError(
            f"{ground_truth.path}: {len(missing)} images: no ground truth: {missing[:3]}"
        )
    for image in tqdm(sorted(labels.images), desc=labels.path, disable=quiet or None):
        full, masks = ground_truth.find(image), custom.find(image)
        assert full is not None
        given = class_map(*labels.read(image), names)
        inside = np.zeros(given.shape, bool) if masks is None else custom.read(masks)[0] != 0
        quality.add(class_map(*ground_truth.read(full), names), given, inside)
    return quality.figures()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    pair: dict[str, Any] = {"nargs": 2, "metavar": ("PNGS", "JSON"), "required": True}
    parser.add_argument("--ground-truth", help="all segments", **pair)
    parser.add_argument("--custom", help="the custom masks alone", **pair)
    parser.add_argument("--labels", help="what is measured", action="append", **pair)
    parser.add_argument("--band", type=int, default=BAND, help="pixels around custom masks")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--out", metavar="JSON", help="write the figures there too")
    args = parser.parse_args(arguments)
    try:
        ground_truth, custom = Labels(*args.ground_truth), Labels(*args.custom)
        labels = [Labels(*pair) for pair in args.labels]
        sets = (ground_truth, custom, *labels)
        if args.out:
            reject_overwriting(chain.from_iterable(s.files() for s in sets), [args.out])
        results = {
            one.path: measure(ground_truth, custom, one, args.band, args.quiet) for one in labels
        }
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keys = list(dict.fromkeys(key for figures in results.values() for key in figures))
    rows = [[key, *(figures.get(key) for figures in results.values())] for key in keys]
    print(tabulate(rows, ("figure", *results), "simple_outline", floatfmt=".2f"))
    if args.out:
        write_json(args.out, results, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
