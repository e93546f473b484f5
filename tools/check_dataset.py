#!/usr/bin/env python
"""Check COCO-panoptic data sets, and write a repaired copy.

    python tools/check_dataset.py DIR [DIR ...]
    python tools/check_dataset.py --set IMAGES PNGS JSON [--set ...] [--fix DIR]

DIR is what convert_masks.py has written; its JSONs (train, val) are the parts of one set. Several
sets are also compared with each other for images that look alike. Exit status: 0 nothing wrong, 1
errors (with --strict: or warnings), 2 not run.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from detr_d2.utils.progress import progress_bar
from detr_d2.validation.check import Checker, SetFiles, check_together
from detr_d2.validation.findings import Finding, Page
from detr_d2.validation.repair import repair_sets

EXIT_FOUND, EXIT_NOT_RUN = 1, 2


def sets_in(folder: str) -> list[SetFiles]:
    """The sets in a converted folder, one a JSON."""
    root = Path(folder)
    found = sorted(root.glob("panoptic*.json"))
    if not found:
        raise FileNotFoundError(f"{folder}: no panoptic*.json in it")
    return [SetFiles(str(path), str(root / "images"), str(root / "panoptic")) for path in found]


def findings_with_bar(checker: Checker, quiet: bool) -> Iterator[Finding]:
    """Findings of one set, with a progress bar."""
    with progress_bar(checker.files.panoptic_json, quiet) as progress:
        for finding in checker.run():
            progress(len(checker.hashes), checker.total)
            yield finding


def repair(sets: list[SetFiles], folder: str, quiet: bool) -> None:
    """Write the repaired copy, with a progress bar, and say what it lacks."""
    with progress_bar(folder, quiet) as progress:
        skipped = repair_sets(sets, folder, progress)
    print(f"repaired copy: {folder}, {len(skipped)} records skipped")
    for item in skipped:
        print(f"    {item.name}: {item.reason}")


def check(args: argparse.Namespace) -> int:
    """Carry out the command; the exit status."""
    sets = [SetFiles(json, images, pngs) for images, pngs, json in args.set]
    for folder in args.folders:
        sets += sets_in(folder)
    if not sets:
        raise ValueError("nothing to check: give a folder, or --set")
    if args.fix and len(sets) != 1 and (args.set or len(args.folders) != 1):
        raise ValueError(f"--fix takes one folder or one --set, {len(sets)} sets are given")
    page = Page(args.shown)
    checkers = [Checker(files, args.queries, args.tiny) for files in sets]
    for checker in checkers:
        page.add(findings_with_bar(checker, args.quiet))
        print(f"{checker.files.panoptic_json}: {checker.total} images")
        for number, category in sorted(checker.categories.items()):
            kind = "thing" if category["isthing"] else "stuff"
            print(f"    {number:5d} {category['name']:30} {kind} {checker.counts[number]:8d}")
    page.add(check_together(checkers))
    print(page)
    if args.fix:
        repair(sets, args.fix, args.quiet)
    wrong = page.count("error") + (page.count("warning") if args.strict else 0)
    return EXIT_FOUND if wrong else 0


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", metavar="DIR", help="converted folders")
    parser.add_argument(
        "--set", nargs=3, action="append", default=[], metavar=("IMAGES", "PNGS", "JSON")
    )
    parser.add_argument("--fix", metavar="DIR", help="write a repaired copy there")
    parser.add_argument("--queries", type=int, default=100, help="MODEL.DETR.NUM_QUERIES")
    parser.add_argument("--tiny", type=int, default=5, metavar="PIXELS", help="report smaller ones")
    parser.add_argument("--shown", type=int, default=3, help="findings of each kind")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    args = argument_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A name in a faulty JSON may hold what no terminal can show.
        stream.reconfigure(errors="backslashreplace")
    try:
        return check(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
