"""Run a trained model on images, videos or a camera: pictures, masks, and files to correct.

python tools/demo.py --config-file COCO-PanopticSegmentation/detr_panoptic_R_50.yaml \
    --input images/ site.mp4 --output output/pictures
python tools/demo.py --config-file output/mine --input val/ --coco-panoptic output/found \
    --ids-from val.json
python tools/demo.py --config-file output/mine --input new/ --export labelme output/to_correct \
    --rank output/rank
"""

import argparse
import os
import shlex
import sys
import tempfile

from detr_d2.data.categories import CategoryTable
from detr_d2.demo.build import choose_instances, make_outputs, make_writers
from detr_d2.demo.camera import run_camera
from detr_d2.demo.inputs import collect_inputs
from detr_d2.demo.options import argument_parser, check_arguments
from detr_d2.demo.run import Runner
from detr_d2.engine import Predictor, command_line, registered_categories, use_model_categories
from detr_d2.utils.files import printable

from detectron2.config import CfgNode

EXIT_FAULTS, EXIT_NOTHING, EXIT_STOPPED = 1, 2, 130


def load_config(args: argparse.Namespace) -> CfgNode:
    """The config with what the arguments change."""
    opts = [*args.more_opts, *args.opts]
    if args.confidence_threshold is not None:
        opts += ["MODEL.DETR.SCORE_THRESH", str(args.confidence_threshold)]
    cfg = command_line.load_config(args.config_file, opts, best=True)
    choose_instances(cfg, rank=args.rank is not None)
    return cfg


def load_categories(args: argparse.Namespace, cfg: CfgNode) -> CategoryTable:
    """Categories by --categories, beside the config, or of the registered test set.

    Raises:
        ValueError: none of the three knows them.
    """
    table = use_model_categories(cfg, args.config_file, args.categories)
    if table is not None:
        return table
    entries = registered_categories(cfg.DATASETS.TEST)
    if not entries:
        raise ValueError(
            f"no categories: there is no categories.json beside {args.config_file}, and "
            f"DATASETS.TEST {cfg.DATASETS.TEST} is not registered; give --categories"
        )
    return CategoryTable(entries)


def run(args: argparse.Namespace, downloads: str) -> int:
    """Run on everything; the exit status."""
    check_arguments(args)
    sources = [] if args.input is None else collect_inputs(args.input, downloads)
    cfg = load_config(args)
    table = load_categories(args, cfg)
    writers = make_writers(args, table)
    pictures, outputs = make_outputs(args, sources, table, writers, cfg)
    runner = Runner(Predictor(cfg, table), outputs, args.batch, args.quiet)
    if args.webcam is not None:
        run_camera(runner, args.webcam, args.output, args.width)
        return 0
    left = [source for source in sources if not (args.resume and runner.has(source))]
    try:
        faults = runner.run_images([source for source in left if not source.is_video])
        for source in left:
            if source.is_video:
                target = pictures.targets[source.stem] if pictures else None
                faults += runner.run_video(source, target, args.width)
    finally:
        for output in outputs:
            output.finish()
    gone = [f"{source.path}: " for source in left if runner.lacks(source)]
    faults += [
        f"{name}what was written of it has been removed meanwhile; --resume does it again"
        for name in gone
        if not any(fault.startswith(name) for fault in faults)
    ]
    print(f"{len(left) - len(faults)} done, {len(sources) - len(left)} were finished before")
    for writer in writers:
        folder = args.input[0] if os.path.isdir(args.input[0]) else os.path.dirname(args.input[0])
        command = shlex.join([*writer.conversion(folder or "."), "--out", "DIR"])
        print(f"when it is corrected: python tools/convert_masks.py {printable(command)}")
    for fault in faults:
        print(f"not done: {fault}", file=sys.stderr)
    return EXIT_FAULTS if faults else 0


def main(args: argparse.Namespace) -> int:
    """Run; what cannot be done is said in a line. Returns the exit status."""
    try:
        with tempfile.TemporaryDirectory() as downloads:
            return run(args, downloads)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOTHING
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on", file=sys.stderr)
        return EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main(argument_parser().parse_args()))
