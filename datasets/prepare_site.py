"""Draw the embedded building-site data set in COCO-panoptic annotation format.

Stuff: sky, concrete, soil. Things: brick, pipe, barrel or those of --things, 1 to 6 a picture.
Every picture has its own random generator, seeded with (seed, split, number): neither the number
of workers nor the number of pictures changes any of them, and the two splits share none.

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
from building_site.painter import MIN_SIDE
from building_site.split import Job, draw_one
from building_site.things import DRAWERS
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
    """Draw both splits into `out`, or leave a split as it is when it was drawn from the same.

    Args:
        out: folder for `{train,val}/`, `panoptic_{train,val}/`, `panoptic_{train,val}.json` and,
            if asked for, `masks_{train,val}/`.
        train: number of training pictures; 0 leaves the split out.
        val: number of validation pictures; 0 leaves the split out.
        size: width and height in pixels.
        seed: another seed draws another set.
        workers: processes that draw; 0 = one a core.
        things: classes that the things are drawn from; one named twice comes twice as often. The
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
        raise ValueError(f"things: name at least one of {', '.join(DRAWERS)}")
    check_names("things", things, DRAWERS)
    check_names("masks", masks, list(dict.fromkeys(things)))
    chosen = tuple(things), tuple(sorted(set(masks)))
    for split, count in enumerate((train, val)):
        if count:
            _prepare_split(Job(os.fspath(out), split, count, *size, seed, *chosen), workers)


def _prepare_split(job: Job, workers: int) -> None:
    root = Path(job.out)
    mark = root / f".{job.name}.json"
    if mark.is_file() and json.loads(mark.read_text()) == job.fingerprint():
        return
    # Gone before the first new picture, so that a set stopped half-way never looks finished.
    mark.unlink(missing_ok=True)
    for folder in (root / job.name, root / f"panoptic_{job.name}"):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_surplus(folder, job.count)
    masks = root / f"masks_{job.name}"
    remove_masks(masks)
    if job.masks:  # even if no picture has any
        masks.mkdir(exist_ok=True)
    drawn = list(tqdm(_draw_all(job, workers), total=job.count, desc=f"site {job.name}"))
    write_panoptic_json(
        root / f"panoptic_{job.name}.json",
        images=[image for image, _ in drawn],
        annotations=[annotation for _, annotation in drawn],
        categories=CategoryTable(categories_of(job.things)),
        description=f"drawn building site, {job.name}, seed {job.seed}",
    )
    write_json(mark, job.fingerprint())


def _remove_surplus(folder: Path, count: int) -> None:
    """Remove what a larger set left: files named like ours, from number `count` on."""
    for path in folder.iterdir():
        if re.fullmatch(r"\d{6}\.(jpg|png)", path.name) and int(path.stem) >= count:
            path.unlink()


def _draw_all(job: Job, workers: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from (draw_one(job, number) for number in range(job.count))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(draw_one, [job] * job.count, range(job.count), chunksize=16)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from "160x128"."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write WIDTHxHEIGHT, as 160x128")
    return int(match[1]), int(match[2])


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the building-site data set.")
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--train", type=int, default=2000, help="training pictures")
    parser.add_argument("--val", type=int, default=200, help="validation pictures")
    parser.add_argument("--size", type=parse_size, default=(160, 128), help="WIDTHxHEIGHT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 = one a core")
    parser.add_argument(
        "--things",
        nargs="+",
        default=THINGS,
        metavar="NAME",
        help=f"of {', '.join(DRAWERS)} (default: {' '.join(THINGS)}); twice = twice as often",
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
