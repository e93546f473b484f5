"""Synthesize the embedded building-site data set in COCO-panoptic annotation format.

Stuff: sky, concrete, soil. Things: brick, pipe, barrel or those of --things, 1 to 6 an image.
Every image has its own random generator, seeded with (seed, split, number): neither the number
of workers nor the number of images changes any of them, and the two splits share none.

    python datasets/prepare_site.py --out output/site --train 2000 --val 200
    python datasets/prepare_site.py --out output/new --things crate brick pipe barrel --masks crate
"""

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from building_site.classes import THINGS, categories_of, check_names
from building_site.masks import remove_masks
from building_site.scene import MIN_SIDE
from building_site.split import SplitSettings, synthesize_one
from building_site.things import RENDERERS
from tqdm import tqdm

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import write_panoptic_json
from detr_d2.utils.files import write_json


def prepare_site(
    out: str | os.PathLike[str],
    *,
    train: int = 2000,
    val: int = 200,
    size: tuple[int, int] = (160, 128),
    seed: int = 0,
    workers: int = 0,
    things: Sequence[str] = THINGS,
    masks: Sequence[str] = (),
) -> None:
    """Synthesize both splits into `out`; a split that is there with the same settings stays.

    Args:
        out: folder for `{train,val}/`, `panoptic_{train,val}/`, `panoptic_{train,val}.json` and,
            if asked for, `masks_{train,val}/`.
        train: number of training images; 0 skips the split.
        val: number of validation images; 0 skips the split.
        size: width and height in pixels.
        seed: another seed gives another set.
        workers: processes; 0 = one a core.
        things: classes that the things are sampled from; one named twice comes twice as often. The
            set's categories are these and the stuff.
        masks: classes of `things` whose instances are written as binary masks besides.

    Raises:
        ValueError: a count or the size is out of range, or a class is unknown.
    """
    if min(size) < MIN_SIDE:
        raise ValueError(f"size {size[0]}x{size[1]}: each side must be at least {MIN_SIDE}")
    if min(train, val, workers, seed) < 0:
        raise ValueError(f"train {train}, val {val}, workers {workers}, seed {seed}: from 0 only")
    if not things:
        raise ValueError(f"things: name at least one of {', '.join(RENDERERS)}")
    check_names("things", things, RENDERERS)
    check_names("masks", masks, list(dict.fromkeys(things)))
    chosen = tuple(things), tuple(sorted(set(masks)))
    for split, count in enumerate((train, val)):
        if count:
            _prepare_split(
                SplitSettings(os.fspath(out), split, count, *size, seed, *chosen), workers
            )


def _prepare_split(settings: SplitSettings, workers: int) -> None:
    root = Path(settings.out)
    mark = root / f".{settings.name}.json"
    if mark.is_file() and json.loads(mark.read_text()) == settings.fingerprint():
        return
    # Gone before the first new image, so that a set stopped half-way never looks finished.
    mark.unlink(missing_ok=True)
    for folder in (root / settings.name, root / f"panoptic_{settings.name}"):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_surplus(folder, settings.count)
    masks = root / f"masks_{settings.name}"
    remove_masks(masks)
    if settings.masks:  # even if no image has any
        masks.mkdir(exist_ok=True)
    made = list(
        tqdm(
            _synthesize_all(settings, workers),
            total=settings.count,
            desc=f"site {settings.name}",
            disable=None,
        )
    )
    write_panoptic_json(
        root / f"panoptic_{settings.name}.json",
        images=[image for image, _ in made],
        annotations=[annotation for _, annotation in made],
        categories=CategoryTable(categories_of(settings.things)),
        description=f"synthetic building site, {settings.name}, seed {settings.seed}",
    )
    write_json(mark, settings.fingerprint())


def _remove_surplus(folder: Path, count: int) -> None:
    """Remove what a larger set left: files named like ours, from number `count` on."""
    for path in folder.iterdir():
        if re.fullmatch(r"\d{6}\.(jpg|png)", path.name) and int(path.stem) >= count:
            path.unlink()


def _synthesize_all(
    settings: SplitSettings, workers: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from (synthesize_one(settings, number) for number in range(settings.count))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(
            synthesize_one, [settings] * settings.count, range(settings.count), chunksize=16
        )


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from "160x128"."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write WIDTHxHEIGHT, as 160x128")
    return int(match[1]), int(match[2])


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthesize the building-site data set.")
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--train", type=int, default=2000, help="training images")
    parser.add_argument("--val", type=int, default=200, help="validation images")
    parser.add_argument("--size", type=parse_size, default=(160, 128), help="WIDTHxHEIGHT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 = one a core")
    parser.add_argument(
        "--things",
        nargs="+",
        default=THINGS,
        metavar="NAME",
        help=f"of {', '.join(RENDERERS)} (default: {' '.join(THINGS)}); twice = twice as often",
    )
    parser.add_argument(
        "--masks", nargs="+", default=(), metavar="NAME", help="things to write binary masks of too"
    )
    args = parser.parse_args()
    try:
        prepare_site(
            args.out,
            train=args.train,
            val=args.val,
            size=args.size,
            seed=args.seed,
            workers=args.workers,
            things=args.things,
            masks=args.masks,
        )
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
