#!/usr/bin/env python
"""Convert masks of any annotation format into a COCO-panoptic data set.

    python tools/convert_masks.py FORMAT ... --out DIR
    python tools/convert_masks.py FORMAT --help
    python tools/convert_masks.py guess FOLDER

docs/DATASETS.md lists the formats and the rules. Exit status: 0 all converted, 3 some images were
skipped (DIR/conversion.json says why), 2 nothing was written, 1 all but the picture DIR/sheet.jpg.
"""

import argparse
import os
import random
import shlex
import sys
from pathlib import Path
from typing import Any

from detr_d2.conversion.classes import parse_value
from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import FORMATS, AnnotationFormat, open_format
from detr_d2.conversion.formats.guess import guess_format
from detr_d2.conversion.formats.matching import Match, describe_matches
from detr_d2.conversion.rasterize import ORDERS, THINGS, Rules
from detr_d2.conversion.report import ConversionReport, describe_report
from detr_d2.conversion.splits import BY_HASH, Split
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records, read_panoptic_json
from detr_d2.utils.files import read_json
from detr_d2.utils.progress import BYTES, Progress, progress_bar
from detr_d2.visualization import Palette, save_picture
from detr_d2.visualization.samples import cover_classes, file_cell, pair_grid

EXIT_NO_PICTURE, EXIT_NOTHING, EXIT_SKIPPED, EXIT_STOPPED = 1, 2, 3, 130
MATCHES_SHOWN = 5
IMAGES_SHOWN, PICTURE_WIDTH = 8, 420


def names(text: str) -> tuple[str, ...]:
    """Split a list at its commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def values(text: str) -> tuple[int, ...]:
    """Pixel values separated by commas; nothing = none."""
    return tuple(parse_value(part) for part in names(text))


# Options of the annotation formats: the field, its option and how argparse reads it.
FIELDS: dict[str, dict[str, Any]] = {
    "images": {"metavar": "DIR", "required": True, "help": "folder of the images"},
    "masks": {"metavar": "DIR", "required": True, "help": "folder of the masks"},
    "annotations": {"metavar": "FILE", "required": True, "help": "the annotation file"},
    "panoptic_json": {"metavar": "JSON", "required": True, "help": "the COCO-panoptic file"},
    "folder": {"metavar": "DIR", "required": True, "help": "folder of annotations and images"},
    "part": {"metavar": "NAME", "help": "the part to convert, as train or training"},
    "version": {"help": "version of the annotations, as v1.2"},
    "ground_truth": {"choices": ("gtFine", "gtCoarse"), "help": "folder of the ground truth"},
    "attribute": {"metavar": "NAME", "help": "the attribute that is the class"},
    "frames": {"help": "names of a video's images, with {n} (default: frame_{n})"},
    "image_key": {"metavar": "KEY", "help": "the key of a task's data that is the image"},
    "project": {"metavar": "NAME", "help": "the project whose labels count"},
    "pattern": {"help": "names of the masks, with {image}, {class}, {n} (a number) or {n:*}"},
    "keep_unlabelled": {"action": "store_true", "help": "images without a mask are empty"},
    "values": {"metavar": "CLASSES", "help": "VALUE=NAME,... or a file"},
    "declared": {"metavar": "CLASSES", "help": "names, or a file; default: all that occur"},
    "label": {"metavar": "NAME", "help": "the one class of all masks"},
    "isthing": {"action": "store_true", "help": "classes are things unless named in --stuff"},
    "void": {"type": values, "metavar": "VALUES", "help": "values that stay void"},
    "background": {"type": values, "metavar": "VALUES", "help": "values of no class"},
    "nearest": {"action": "store_true", "help": "take the nearest class value"},
    "foreground": {"type": int, "metavar": "VALUE", "help": "the one value that means inside"},
    "threshold": {"type": int, "metavar": "VALUE", "help": "the lowest value that means inside"},
    "divisor": {"type": int, "metavar": "N", "help": "number = class value x N + instance"},
    "semantic": {"metavar": "DIR", "help": "folder of semantic masks"},
    "semantic_pattern": {"help": "names of the semantic masks (default: {image})"},
    "ignore": {"type": names, "metavar": "LABELS", "help": "labels that are void"},
    "skip": {"type": names, "metavar": "LABELS", "help": "labels whose shapes are skipped"},
    "exif": {"choices": ("upright", "stored"), "help": "orientation that the masks were drawn in"},
    "things": {"type": names, "metavar": "NAMES", "help": "the classes that are things"},
    "stuff": {"type": names, "metavar": "NAMES", "help": "the classes that are stuff"},
    "resize": {"action": "store_true", "help": "scale masks to their images"},
    "skip_bad_annotations": {
        "action": "store_true",
        "help": "skip and report annotations that cannot be read, instead of their image",
    },
}
# Fields whose option has another name, and fields that other options fill.
OPTION_NAMES = {"values": "--classes", "declared": "--classes", "label": "--class"}
OPTION_NAMES |= {"isthing": "--all-things", "panoptic_json": "--json"}
FROM_RULES = ("min_area", "closing", "one_region")


def argument_parser() -> argparse.ArgumentParser:
    """Make the parser: one sub-command per annotation format."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    formats = parser.add_subparsers(dest="annotation_format", required=True, metavar="FORMAT")
    guess = formats.add_parser("guess", help="propose the format and the command for a folder")
    guess.add_argument("folder", metavar="FOLDER")
    for name, annotation_format in FORMATS.items():
        text = (annotation_format.__doc__ or "").split("\n")[0]
        sub = formats.add_parser(name, help=text, description=text)
        group = sub.add_argument_group("the source")
        for field in annotation_format.__dataclass_fields__:
            if field in FIELDS:
                option = OPTION_NAMES.get(field, "--" + field.replace("_", "-"))
                group.add_argument(option, dest=field, default=None, **FIELDS[field])
        _add_rules(sub)
        _add_result(sub)
    return parser


def _add_rules(parser: argparse.ArgumentParser) -> None:
    rules = parser.add_argument_group("rules")
    rules.add_argument("--order", choices=ORDERS, default="area", help="which regions lie on top")
    rules.add_argument("--split-things", choices=THINGS, help="things of a class map")
    rules.add_argument("--min-area", type=int, default=10, metavar="PIXELS")
    rules.add_argument("--closing", type=int, default=0, metavar="PIXELS")
    rules.add_argument(
        "--background-class", metavar="NAME", help="stuff class of all unlabelled pixels"
    )
    rules.add_argument(
        "--base-categories", metavar="JSON", help="classes that the set should have too (COCO's)"
    )


def _add_result(parser: argparse.ArgumentParser) -> None:
    result = parser.add_argument_group("the result")
    result.add_argument("--out", required=True, metavar="DIR")
    result.add_argument("--split", type=float, metavar="SHARE", help="share of training")
    result.add_argument("--seed", type=int, default=0, help="of the split and of the sheet")
    result.add_argument(
        "--group-by", metavar="REGEX", help=f"images that stay together in the split; or {BY_HASH}"
    )
    result.add_argument("--copy-images", action="store_true", help="never link them")
    result.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N")
    result.add_argument("--show-matches", action="store_true", help="print how names are read")
    result.add_argument("--dry-run", action="store_true", help="read and count, write nothing")
    result.add_argument("--quiet", action="store_true", help="no progress bar")
    result.add_argument("--no-sheet", action="store_true", help="no picture of random results")


def make_format(args: argparse.Namespace, progress: Progress | None = None) -> AnnotationFormat:
    """Make the annotation format that the arguments describe."""
    fields = FORMATS[args.annotation_format].__dataclass_fields__
    options = {key: getattr(args, key) for key in fields if getattr(args, key, None) is not None}
    if "min_area" in fields:
        options |= {"min_area": args.min_area, "closing": args.closing}
        options["one_region"] = args.split_things == "region"
    return open_format(args.annotation_format, progress=progress, **options)


def write_grid(out: Path, seed: int) -> None:
    """Write an image grid of random results that shows every class at least once, `sheet.jpg`."""
    path = sorted(out.glob("panoptic*.json"))[0]
    table = CategoryTable(read_panoptic_json(path)["categories"], str(path))
    records = load_records(str(path), str(out / "images"), str(out / "panoptic"), table)
    random.Random(seed).shuffle(records)
    classes = [{s["category_id"] for s in record["segments_info"]} for record in records]
    palette = Palette.from_categories(table.categories)
    cells = []
    for record in (records[i] for i in cover_classes(classes, IMAGES_SHOWN)):
        name = os.path.relpath(record["file_name"], out / "images")
        cells.append(file_cell(record, palette, PICTURE_WIDTH, name))
    save_picture(out / "sheet.jpg", pair_grid(cells, ("image", "segments"), palette))


def show_matches(annotation_format: AnnotationFormat, all_of_them: bool) -> None:
    """Print how the names of masks were read, where there was anything to read in them."""
    matches: list[Match] = getattr(annotation_format, "matched", [])
    if matches and (annotation_format.pattern != "{image}" or all_of_them):
        print(describe_matches(matches, None if all_of_them else MATCHES_SHOWN))


def propose(folder: str) -> int:
    """Print what a folder seems to hold, and the command for it; the exit status."""
    guess = guess_format(folder)
    print("\n".join(guess.seen))
    if not guess.arguments:
        print("no format recognized; docs/DATASETS.md lists them")
        return EXIT_NOTHING
    print("proposal, to be checked (--dry-run) and completed where it says NAME:")
    print("  python tools/convert_masks.py", shlex.join([*guess.arguments, "--out", "DIR"]))
    return 0


def convert(args: argparse.Namespace) -> ConversionReport:
    """Carry out the command."""
    if args.group_by is not None and args.split is None:
        raise ValueError("--group-by needs --split: it says which images stay together in it")
    split = Split(args.split, args.seed, args.group_by) if args.split is not None else None
    rules = Rules(args.order, args.split_things, args.min_area, args.closing, args.background_class)
    with progress_bar("reading", args.quiet, BYTES) as reading:
        annotation_format = make_format(args, reading)
    show_matches(annotation_format, args.show_matches)
    base = read_json(args.base_categories) if args.base_categories else []
    with progress_bar(quiet=args.quiet) as progress:
        return convert_set(
            annotation_format,
            args.out,
            rules=rules,
            split=split,
            base_categories=base["categories"] if isinstance(base, dict) else base,
            images="copy" if args.copy_images else "link",
            workers=args.workers,
            dry_run=args.dry_run,
            progress=progress,
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    args = argument_parser().parse_args(arguments)
    try:
        if args.annotation_format == "guess":
            return propose(args.folder)
        report = convert(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOTHING
    except KeyboardInterrupt:
        print("stopped; the same command continues from here", file=sys.stderr)
        return EXIT_STOPPED
    print(describe_report(report))
    print("nothing written (--dry-run)" if args.dry_run else f"written: {args.out}")
    if not args.dry_run and not args.no_sheet:
        try:
            write_grid(Path(args.out), args.seed)
        except OSError as error:
            print(f"error: the set is written, its picture is not: {error}", file=sys.stderr)
            return EXIT_NO_PICTURE
    return EXIT_SKIPPED if report.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
