"""The options of the demo: Detectron2's, and ours."""

import argparse

from detr_d2.annotation_export import WRITERS
from detr_d2.engine import command_line


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments: Detectron2's, and ours."""
    parser = command_line.ToolParser(
        description="Run a trained model on images, videos or a camera."
    )
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="CONFIG",
        help=f"{command_line.CONFIG_HELP}, of which the best weights are taken",
    )
    source = parser.add_argument_group("what to run on")
    source.add_argument(
        "--input", nargs="+", help="images, videos, folders, patterns like 'a/*', or URLs"
    )
    source.add_argument("--video-input", metavar="VIDEO", help="a video, as --input takes it too")
    source.add_argument(
        "--webcam", nargs="?", const=0, type=int, metavar="N", help="camera N (default: 0)"
    )
    result = parser.add_argument_group("what to write")
    result.add_argument(
        "--output", metavar="PATH", help="folder of pictures and videos; a file for one input"
    )
    result.add_argument("--coco-panoptic", metavar="DIR", help="where id PNGs and JSON go")
    result.add_argument(
        "--ids-from", metavar="JSON", help="COCO or COCO-panoptic JSON with the images' ids"
    )
    result.add_argument(
        "--export",
        action="append",
        nargs=2,
        default=[],
        metavar=("FORMAT", "DIR"),
        help=f"polygons to correct, for {', '.join(WRITERS)}; may be given several times",
    )
    result.add_argument(
        "--rank", metavar="DIR", help="lists of the images, the least sure first; pictures too"
    )
    result.add_argument("--width", type=int, help="width of the pictures; without it the image's")
    result.add_argument("--resume", action="store_true", help="skip what is finished")
    _add_model_options(parser)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confidence-threshold",
        type=float,
        metavar="SCORE",
        help="score that a segment needs: MODEL.DETR.SCORE_THRESH",
    )
    parser.add_argument(
        "--categories",
        metavar="JSON",
        help="COCO-panoptic JSON, or list of categories, that the model was trained with; without "
        "it categories.json beside the config, else the data set of DATASETS.TEST",
    )
    parser.add_argument("--batch", type=int, default=1, help="images or frames run at a time")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument(
        "--opts", dest="more_opts", nargs="*", default=[], metavar="KEY VALUE", help="see opts"
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError for options that contradict each other or ask for nothing."""
    if args.video_input is not None:
        args.input = [*(args.input or []), args.video_input]
    if (args.webcam is None) == (args.input is None):
        raise ValueError("give either --input (or --video-input), or --webcam")
    writes = args.output or args.coco_panoptic or args.export or args.rank
    if args.webcam is None and not writes:
        raise ValueError("give --output, --coco-panoptic, --export or --rank")
    if args.webcam is not None and (args.coco_panoptic or args.export or args.rank):
        raise ValueError("--webcam goes to a window or to --output")
    if args.ids_from and not args.coco_panoptic:
        raise ValueError("--ids-from is for --coco-panoptic")
    if args.batch < 1 or (args.width is not None and args.width < 1):
        raise ValueError(f"--batch {args.batch}, --width {args.width}: must be from 1")
    if args.confidence_threshold is not None and not 0 <= args.confidence_threshold <= 1:
        raise ValueError(f"--confidence-threshold {args.confidence_threshold}: must be in 0..1")
    unknown = [name for name, _ in args.export if name not in WRITERS]
    if unknown:
        raise ValueError(f"--export {unknown[0]}: allowed are {', '.join(WRITERS)}")
    if len(args.more_opts) % 2:
        raise ValueError(f"--opts {' '.join(args.more_opts)}: must be pairs of KEY VALUE")
