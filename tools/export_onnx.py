"""Export a trained panoptic model to ONNX, and measure how far it agrees with PyTorch.

python tools/export_onnx.py --config-file output/mine --output output/onnx --images mine/val
python output/onnx/run_onnx.py --output output/found image.jpg
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from detr_d2.engine import Predictor, command_line, use_model_categories
from detr_d2.evaluation.pq import PanopticGroundTruth
from detr_d2.export.onnx_files import check_can_export, export_onnx
from detr_d2.export.parity import ALLOWED_LOSS, RUNNER, Parity, measure_parity, noise_images
from detr_d2.export.precision import PRECISIONS, reducer
from detr_d2.utils.files import read_json, replacing, write_json
from detr_d2.visualization import read_image
from detr_d2.visualization.video import find_sources

import onnxruntime


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
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="fp16: of the convolutions; int8: of the linear layers. Written only where it loses "
        f"at most {ALLOWED_LOSS} points of PQ on --images",
    )
    return parser


def main(args: argparse.Namespace) -> int:
    """Export, compare, and put the files in place; returns the exit status."""
    if not args.images and (args.precision != "fp32" or args.ground_truth):
        raise ValueError("--precision and --ground-truth need --images to measure on")
    cfg = command_line.load_config(args.config_file, [*args.opts, "MODEL.DEVICE", "cpu"], best=True)
    predictor = Predictor(cfg, use_model_categories(cfg, args.config_file, args.categories))
    check_can_export(predictor.model)
    images = noise_images()
    if args.images:
        sources = [source.path for source in find_sources(args.images) if not source.is_video]
        images = ((path.name, read_image(str(path))) for path in sources)
    truth = None
    if args.ground_truth:
        pngs, content = args.ground_truth
        truth = PanopticGroundTruth(read_json(content), pngs)
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(predictor.model, cfg, folder, reducer(args.precision))
        write_json(Path(folder, "categories.json"), predictor.categories.to_json(), indent=1)
        shutil.copyfile(Path(__file__).with_name(RUNNER), Path(folder, RUNNER))
        parity = measure_parity(predictor, folder, images, truth)
        report = {
            "precision": args.precision,
            **parity.report(),
            "onnxruntime": onnxruntime.__version__,
        }
        write_json(Path(folder, "parity.json"), report, indent=1)
        check_loss(args.precision, parity)
        for name in sorted(os.listdir(folder)):
            with replacing(Path(args.output, name)) as temporary:
                shutil.copyfile(Path(folder, name), temporary)
    for key, value in report.items():
        print(f"{key}: {value}")
    print(f"python {Path(args.output, RUNNER)} --output FOUND IMAGE ...")
    return 0


def check_loss(precision: str, parity: Parity) -> None:
    """Reject a smaller precision that costs too much.

    Raises:
        ValueError: more than ALLOWED_LOSS points of PQ, or nothing was found to judge by.
    """
    loss = parity.loss()
    if precision == "fp32":
        return
    if loss is None:
        raise ValueError(f"--precision {precision}: no segment on --images, so nothing was judged")
    if loss > ALLOWED_LOSS:
        raise ValueError(
            f"--precision {precision} loses {loss:.2f} points of PQ; allowed: {ALLOWED_LOSS}; "
            "nothing was written"
        )


if __name__ == "__main__":
    sys.exit(main(argument_parser().parse_args()))
