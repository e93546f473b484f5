#!/usr/bin/env python
"""Speed and memory of the model against the published computation, as JSON.

    python tools/benchmark [--device cuda] [--repeats 3]
    python tools/benchmark --merge [--repeats 5]
    python tools/benchmark --padding [--device cuda] [--repeats 3]
    python tools/benchmark --conversion [--images 200] [--workers 2]

The second measures the panoptic merge alone; the third a batch of images of different sizes, with
and without MODEL.DETR.ERASE_PADDING; the fourth the conversion of masks: semantic PNGs and COCO
polygons. The speed of the evaluation is measured by evaluation.py beside this file.
"""

import argparse
import json

from conversion_speed import measure_conversion
from merge_speed import measure_merge
from model_speed import measure_model
from padding_speed import measure_padding


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="timed turns after one warm-up")
    parser.add_argument("--merge", action="store_true", help="measure the panoptic merge")
    parser.add_argument("--padding", action="store_true", help="measure batches of mixed sizes")
    parser.add_argument("--conversion", action="store_true", help="measure convert_masks.py")
    parser.add_argument("--images", type=int, default=200, help="with --conversion")
    parser.add_argument("--workers", type=int, default=2, help="with --conversion")
    args = parser.parse_args()
    if args.conversion:
        report = measure_conversion(args.images, args.workers)
    elif args.merge:
        report = {"merge": measure_merge(args.repeats)}
    elif args.padding:
        report = measure_padding(args.device, args.repeats)
    else:
        report = measure_model(args.device, args.repeats)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
