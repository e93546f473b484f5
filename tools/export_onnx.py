"""Export a trained panoptic model to ONNX, and measure how far it agrees with PyTorch.

python tools/export_onnx.py --config-file output/mine --output output/onnx --images mine/val
python output/onnx/run_onnx.py --output output/found image.jpg
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from detr_d2.engine import Predictor, command_line, use_model_categories
from detr_d2.engine.training_folder import CATEGORIES, find_config
from detr_d2.evaluation.pq import PanopticGroundTruth
from detr_d2.export.onnx_files import check_can_export, export_onnx
from detr_d2.export.parity import RUNNER, measure_parity, noise_images
from detr_d2.utils.files import read_json, reject_overwriting, replacing, write_json
from detr_d2.utils.images import read_image
from detr_d2.visualization.video import find_sources

FILES = ("detect.onnx", "masks.onnx", CATEGORIES, "parity.json", RUNNER)
# PyTorch does what the graphs do, no more and in fp32, so that times and outputs can be compared.
SAME_WORK = (
    *("MODEL.DEVICE", "cpu", "MODEL.DETR.INSTANCE_ON", "False"),
    *("MODEL.DETR.SEM_SEG_ON", "False", "MODEL.DETR.BF16_INFERENCE", "False"),
)


def argument_parser() -> argparse.ArgumentParser:
    """Return the tool's arguments."""
    parser = command_line.ToolParser(description="Export a trained panoptic model to ONNX.")
    parser.add_argument(
        "--config-file", required=True, metavar="CONFIG", help=command_line.CONFIG_HELP
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="made if needed")
    parser.add_argument("--categories", metavar="JSON", help="as demo.py has it")
    parser.add_argument(
        "--images", nargs="+", help="images to compare on; without them random patterns"
    )
    parser.add_argument(
        "--ground-truth",
        nargs=2,
        metavar=("PNGS", "JSON"),
        help="COCO-panoptic ground truth of --images: PQ of both is then measured on it",
    )
    return parser


def main(args: argparse.Namespace) -> int:
    """Export, compare, and put the files in place; returns the exit status."""
    if args.ground_truth and not args.images:
        raise ValueError("--ground-truth needs --images to measure on")
    reject_overwriting(files_read(args), (Path(args.output, name) for name in FILES))
    cfg = command_line.load_config(args.config_file, [*args.opts, *SAME_WORK], best=True)
    predictor = Predictor(cfg, use_model_categories(cfg, args.config_file, args.categories))
    check_can_export(predictor.model)
    import onnxruntime

    paths = [source.path for source in find_sources(args.images or []) if not source.is_video]
    if args.images and not paths:
        raise ValueError(f"--images {' '.join(args.images)}: videos only; needed: images")
    images = ((path.name, read_image(str(path))) for path in paths)
    ground_truth = read_ground_truth(*args.ground_truth, paths) if args.ground_truth else None
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(predictor.model, cfg, folder)
        write_json(Path(folder, CATEGORIES), predictor.categories.to_json(), indent=1)
        shutil.copyfile(Path(__file__).with_name(RUNNER), Path(folder, RUNNER))
        parity = measure_parity(
            predictor, folder, images if paths else noise_images(), ground_truth
        )
        report = {**parity.report(), "onnxruntime": onnxruntime.__version__}
        write_json(Path(folder, "parity.json"), report, indent=1)
        for name in FILES:
            with replacing(Path(args.output, name)) as temporary:
                shutil.copyfile(Path(folder, name), temporary)
    for key, value in report.items():
        print(f"{key}: {value}")
    print(f"python {Path(args.output, RUNNER)} --output FOUND IMAGE ...")
    return 0


def files_read(args: argparse.Namespace) -> list[Path]:
    """The files of the command line that a file of the same name in --output would replace."""
    config = Path(find_config(args.config_file))
    categories = args.categories or config.with_name(CATEGORIES)
    truth = args.ground_truth[1:] if args.ground_truth else []
    return [config, Path(categories), *map(Path, truth), Path(__file__).with_name(RUNNER)]


def read_ground_truth(pngs: str, content: str, images: list[Path]) -> PanopticGroundTruth:
    """Read the ground truth in which the stem of each image is found.

    Raises:
        ValueError: an image of which it knows nothing.
    """
    ground_truth = PanopticGroundTruth(read_json(content), pngs)
    known = {Path(entry["file_name"]).stem for entry in ground_truth.content["images"]}
    unknown = [path.name for path in images if path.stem not in known]
    if unknown:
        raise ValueError(f"--ground-truth {content} has no image {unknown[0]}")
    return ground_truth


if __name__ == "__main__":
    try:
        sys.exit(main(argument_parser().parse_args()))
    except (OSError, ValueError) as error:
        sys.exit(f"export_onnx.py: {error}")
