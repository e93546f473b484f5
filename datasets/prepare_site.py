"""Draw the embedded building-site data set in COCO-panoptic form.

Stuff: sky, concrete, soil. Things: brick, pipe, barrel, and crate when asked for, 1 to 6 a picture.
Every picture has its own random generator, seeded with (seed, split, number): neither the number of
workers nor the number of pictures changes any of them, and the two splits share none.

    python datasets/prepare_site.py --out output/site --train 2000 --val 200

`--masks` also writes what somebody has who drew masks of some classes only: a black-and-white PNG
for each instance.

    python datasets/prepare_site.py --out output/crates --train 200 --val 100 --seed 7 \
        --things brick pipe barrel crate crate --masks crate
"""

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from site_classes import BY_NAME, THINGS, categories_of, check_names
from site_painter import MIN_SIDE, Picture, paint_picture
from site_things import DRAWERS
from tqdm import tqdm

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import (
    describe_segments,
    write_id_png,
    write_panoptic_json,
)
from detr_d2.ops.files import replacing, write_json

SPLITS = ("train", "val")
# Raised whenever the drawing changes, so that sets drawn before are drawn anew.
DRAWING_VERSION = 1
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Job:
    """What one split is made from. `split` is its place in SPLITS, `count` its pictures.

    `things` are the classes to choose from, `masks` those of which every instance gets a mask.
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
        """All that the files depend on, as JSON gives it back.

        Defaults of later fields are left out: a set that was drawn before they came is as it is.
        """
        later = {field.name: field.default for field in fields(self)[-2:]}
        own = {key: value for key, value in asdict(self).items() if value != later.get(key)}
        text = json.dumps({**own, "out": "", "drawing_version": DRAWING_VERSION})
        content: dict[str, Any] = json.loads(text)
        return content


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
        out: folder for `{train,val}/`, `panoptic_{train,val}/` and `panoptic_{train,val}.json`,
            and with `masks` for `masks_{train,val}/`, with files `000000_crate_1.png`.
        train: number of training pictures; 0 leaves the split out.
        val: number of validation pictures; 0 leaves the split out.
        size: width and height in pixels.
        seed: another seed draws another set.
        workers: processes that draw; 0 = one a core.
        things: the classes to choose from; one that is named twice is drawn twice as often. The
            categories are the stuff and these.
        masks: classes of which every instance gets a black-and-white mask of its own.

    Raises:
        ValueError: a count or the size is out of range, or a class is unknown.
    """
    if min(size) < MIN_SIDE:
        raise ValueError(f"size {size[0]}x{size[1]}: each side must be at least {MIN_SIDE}")
    if min(train, val, workers, seed) < 0:
        raise ValueError(f"train {train}, val {val}, workers {workers}, seed {seed}: from 0 only")
    check_names("things", things, DRAWERS)
    check_names("masks", masks, things)
    classes = (tuple(things), tuple(masks))
    for split, count in enumerate((train, val)):
        if count:
            _prepare_split(Job(os.fspath(out), split, count, *size, seed, *classes), workers)


def _prepare_split(job: Job, workers: int) -> None:
    root = Path(job.out)
    mark = root / f".{job.name}.json"
    if mark.is_file() and json.loads(mark.read_text()) == job.fingerprint():
        return
    # Gone before the first new picture, so that a set stopped half-way never looks finished.
    mark.unlink(missing_ok=True)
    # Of the masks all: a picture may have fewer of them than before.
    kept = {job.name: job.count, f"panoptic_{job.name}": job.count}
    kept |= {f"masks_{job.name}": 0} if job.masks else {}
    for name, count in kept.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        _remove_surplus(root / name, count)
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
    """Remove what another set left: files named like ours, from picture `count` on."""
    for path in folder.iterdir():
        ours = re.fullmatch(r"(\d{6})(_[a-z]+_\d+)?\.(jpg|png)", path.name)
        if ours and int(ours[1]) >= count:
            path.unlink()


def _draw_all(job: Job, workers: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from (draw_one(job, number) for number in range(job.count))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(draw_one, [job] * job.count, range(job.count), chunksize=16)


def draw_one(job: Job, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw and write one picture; returns its entries in `images` and `annotations`."""
    cv2.setNumThreads(1)  # the pictures are drawn side by side already
    rng = np.random.default_rng([job.seed, job.split, number])
    picture = paint_picture(rng, job.width, job.height, job.things)
    ids = _segment_ids(rng, picture.classes)
    categories = {i: BY_NAME[name]["id"] for i, name in zip(ids, picture.classes, strict=True)}
    id_map = np.array([0, *ids], np.int32)[picture.labels]
    stem = f"{number:06d}"
    root = Path(job.out)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    with replacing(root / job.name / f"{stem}.jpg") as temporary:
        cv2.imwrite(temporary, picture.image[..., ::-1], options)
    write_id_png(root / f"panoptic_{job.name}" / f"{stem}.png", id_map)
    for name in job.masks:
        _write_masks(root / f"masks_{job.name}" / f"{stem}_{name}", picture, name)
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


def _write_masks(path: Path, picture: Picture, name: str) -> None:
    """A black-and-white PNG for every instance of a class: `path` with its number behind."""
    labels = [i for i, found in enumerate(picture.classes, start=1) if found == name]
    for number, label in enumerate(labels, start=1):
        with replacing(f"{path}_{number}.png") as temporary:
            cv2.imwrite(temporary, np.where(picture.labels == label, 255, 0).astype(np.uint8))


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
        help=f"classes to choose from, of {', '.join(DRAWERS)}; twice the name, twice the number",
    )
    parser.add_argument(
        "--masks", nargs="+", default=(), metavar="NAME", help="write masks of these classes"
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
