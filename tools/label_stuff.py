#!/usr/bin/env python
"""Pseudo-labels for stuff: your things labelled manually, all else by a pretrained panoptic model.

python tools/label_stuff.py --dataset mine mine/images mine/panoptic mine/panoptic.json \
    --stuff supercategories --out mine_labelled

The model is DETR with its published COCO weights, unless --config-file and --weights say another.
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from detr_d2.engine import command_line, use_model_categories
from detr_d2.engine.setup import LOGGERS, share_cores
from detr_d2.pseudo_labels import MergeRules, label_stuff
from detr_d2.pseudo_labels.classes import STUFF_CHOICES, THING_CHOICES
from detr_d2.pseudo_labels.merge import FILLS
from detr_d2.utils.files import read_json
from detr_d2.utils.progress import progress_bar

from detectron2.config import CfgNode
from detectron2.engine import launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

EXIT_NOT_RUN, EXIT_SKIPPED, EXIT_STOPPED = 2, 3, 130
SHOWN = 10
COCO_MODEL = "COCO-PanopticSegmentation/detr_panoptic_R_50.yaml"


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = command_line.ToolParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--dataset",
        action="append",
        nargs="+",
        required=True,
        metavar="NAME",
        help="the set of your masks: NAME IMAGES PNGS JSON, or the NAME alone of a registered one; "
        "may be given several times, for sets with the same classes",
    )
    command_line.add_register_option(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="where the labelled set goes")
    _add_model(parser)
    _add_rules(parser)
    run = parser.add_argument_group("the run")
    run.add_argument("--batch", type=int, default=1, help="images at a time, in each process")
    run.add_argument("--copy-images", action="store_true", help="never link them")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    run.add_argument("--review", type=int, default=200, help="images in it; 0 = none")
    run.add_argument(
        "--replace", action="store_true", help="labels of other options in --out may go"
    )
    run.add_argument("--num-gpus", type=int, default=1, help="processes on this machine")
    run.add_argument("--num-machines", type=int, default=1)
    run.add_argument("--machine-rank", type=int, default=0)
    run.add_argument("--dist-url", default="auto", metavar="tcp://HOST:PORT")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("the model and its classes")
    model.add_argument(
        "--config-file", default=COCO_MODEL, metavar="CONFIG", help=command_line.CONFIG_HELP
    )
    model.add_argument("--weights", metavar="FILE", help="in the place of the config's")
    model.add_argument(
        "--categories",
        metavar="JSON",
        help="the model's categories; without it categories.json beside the config, else its "
        "data set's",
    )
    model.add_argument(
        "--stuff",
        choices=STUFF_CHOICES,
        default="names",
        help="what the model's stuff becomes (supercategories are known for COCO's classes only)",
    )
    model.add_argument(
        "--things", choices=THING_CHOICES, default="misc", help="what its things become"
    )
    model.add_argument(
        "--mapping", metavar="JSON", help='{"its class": "class of the result" or null, "*": ...}'
    )


def _add_rules(parser: argparse.ArgumentParser) -> None:
    rules, default = parser.add_argument_group("the merge"), MergeRules()
    rules.add_argument(
        "--overlap",
        type=float,
        default=default.overlap,
        metavar="SHARE",
        help="a predicted thing with more of it under your masks is your object, and goes; 1 = "
        "never (default: %(default)s)",
    )
    rules.add_argument(
        "--halo", type=int, metavar="PIXELS", help="thinner remains go (default: 1 %% of the side)"
    )
    rules.add_argument(
        "--min-area", type=int, metavar="PIXELS", help="smaller remains go (default: 0.1 %%)"
    )
    rules.add_argument(
        "--margin",
        type=int,
        default=default.margin,
        metavar="PIXELS",
        help="predicted things go within this distance of your masks (default: %(default)s)",
    )
    rules.add_argument(
        "--min-score",
        type=float,
        default=default.min_score,
        help="segments below it become void (default: %(default)s)",
    )
    rules.add_argument(
        "--min-confidence",
        type=float,
        default=default.min_confidence,
        help="pixels below it become void (default: %(default)s)",
    )
    rules.add_argument(
        "--fill",
        choices=FILLS,
        default=default.fill,
        help="what becomes of pixels of what goes (default: %(default)s)",
    )


def load_config(args: argparse.Namespace) -> CfgNode:
    """The model's config."""
    weights = [] if args.weights is None else ["MODEL.WEIGHTS", args.weights]
    cfg = command_line.load_config(args.config_file, [*args.opts, *weights], best=True)
    use_model_categories(cfg, args.config_file, args.categories)
    return cfg


def register(args: argparse.Namespace) -> list[str]:
    """Register the sets; their names."""
    names = [dataset[0] for dataset in args.dataset]
    for dataset in args.dataset:
        if len(dataset) not in (1, 4):
            raise ValueError(
                f"--dataset {' '.join(dataset)}: NAME IMAGES PNGS JSON, or the NAME alone"
            )
    args.dataset = [dataset for dataset in args.dataset if len(dataset) == 4]
    command_line.register_datasets(args)
    return names


def run(args: argparse.Namespace) -> None:
    """Label, in one of the processes."""
    for name in LOGGERS:
        setup_logger(distributed_rank=comm.get_rank(), name=name)
    names = register(args)
    cfg = load_config(args)
    share_cores(cfg.MODEL.DEVICE)
    with progress_bar(quiet=args.quiet or not comm.is_main_process()) as progress:
        label_stuff(
            cfg,
            names,
            args.out,
            rules=rules_of(args),
            stuff=args.stuff,
            things=args.things,
            mapping=read_mapping(args.mapping) if args.mapping else None,
            batch=args.batch,
            images="copy" if args.copy_images else "link",
            review=args.review,
            replace=args.replace,
            progress=progress,
        )


def read_mapping(path: str) -> dict[str, str | None]:
    """The file of --mapping."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f'{path}: must be an object {{"class of the model": "name" or null}}')
    return content


def rules_of(args: argparse.Namespace) -> MergeRules:
    """The rules that the options give."""
    return MergeRules(**{field.name: getattr(args, field.name) for field in fields(MergeRules)})


def describe(out: Path) -> tuple[str, bool]:
    """The report of a finished labelling as text, and whether images were skipped."""
    report = read_json(out / "labelling.json")
    lines = [f"{'class':30} segments"]
    lines += [f"{name:30} {count:8d}" for name, count in report["segments"].items()]
    shares = ", ".join(f"{100 * share:.1f} % {name}" for name, share in report["shares"].items())
    lines.append(f"{report['images']} images: {shares}")
    for item in report["skipped"][:SHOWN]:
        lines.append(f"skipped: {item['name']}: {item['reason']}")
    if len(report["skipped"]) > SHOWN:
        lines.append(f"... and {len(report['skipped']) - SHOWN} more in labelling.json")
    lines.append(f"written: {out}")
    page = out / "review" / "index.html"
    if page.is_file():
        lines.append(f"look at them before you train on them: {page}")
    return "\n".join(lines), bool(report["skipped"])


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    args = argument_parser().parse_args(arguments)
    try:
        launch(
            run,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOT_RUN
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return EXIT_STOPPED
    if args.machine_rank != 0:
        return 0
    text, incomplete = describe(Path(args.out))
    print(text)
    return EXIT_SKIPPED if incomplete else 0


if __name__ == "__main__":
    sys.exit(main())
