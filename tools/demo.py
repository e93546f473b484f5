"""Run a trained model on images, folders or videos: pictures out, and COCO-panoptic files.

python tools/demo.py --config-file COCO-PanopticSegmentation/detr_panoptic_R_50.yaml \
    --input images/ site.mp4 --output output/pictures
python tools/demo.py --config-file output/mine --input images/ --coco-panoptic output/panoptic
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import PanopticFolder
from detr_d2.engine import Predictor, command_line, registered_categories, use_model_categories
from detr_d2.engine.predictor import panoptic_map
from detr_d2.utils.files import replacing
from detr_d2.visualization import Palette, read_image, render_output, save_picture
from detr_d2.visualization.video import Source, find_sources, read_frames, write_video

import cv2
import numpy as np
from detectron2.config import CfgNode
from tqdm import tqdm


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = command_line.ToolParser(description="Run a trained model on images and videos.")
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="CONFIG",
        help=f"{command_line.CONFIG_HELP}, of which the best weights are taken",
    )
    parser.add_argument(
        "--input", nargs="+", required=True, help="images, videos, folders or patterns like 'a/*'"
    )
    parser.add_argument("--output", metavar="DIR", help="where pictures and videos go")
    parser.add_argument("--coco-panoptic", metavar="DIR", help="where id PNGs and JSON go")
    parser.add_argument(
        "--categories",
        metavar="JSON",
        help="COCO-panoptic JSON, or list of categories, that the model was trained with; without "
        "it categories.json beside the config, else the data set of DATASETS.TEST",
    )
    parser.add_argument("--batch", type=int, default=1, help="images or frames run at a time")
    parser.add_argument("--width", type=int, help="width of the pictures; without it the image's")
    parser.add_argument("--resume", action="store_true", help="skip what is finished")
    return parser


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


class Demo:
    """The model and the places where its outputs go."""

    def __init__(self, args: argparse.Namespace, cfg: CfgNode, table: CategoryTable) -> None:
        self.args = args
        self.predictor = Predictor(cfg, table)
        self.palette = Palette.from_categories(table.categories)
        self.pictures = Path(args.output) if args.output else None
        self.folder: PanopticFolder | None = None
        if args.coco_panoptic:
            self.folder = PanopticFolder(args.coco_panoptic, table, resume=args.resume)

    def is_finished(self, source: Source) -> bool:
        """Whether every output of an image or video is there; of a video the pictures tell."""
        kind = ".mp4" if source.is_video else ".jpg"
        drawn = self.pictures is None or (self.pictures / f"{source.stem}{kind}").is_file()
        if source.is_video:
            return drawn and self.pictures is not None
        return drawn and (self.folder is None or f"{source.stem}.png" in self.folder)

    def run_images(self, sources: list[Source]) -> list[str]:
        """Run on images; gives the faults of those that could not be read."""
        faults: list[str] = []
        with tqdm(total=len(sources), desc="images", disable=not sources) as bar:
            for start in range(0, len(sources), self.args.batch):
                batch: list[tuple[Source, np.ndarray]] = []
                for source in sources[start : start + self.args.batch]:
                    try:
                        batch.append((source, read_image(str(source.path))))
                    except OSError as error:
                        faults.append(f"{source.path}: {error}")
                outputs = self.predictor([image for _, image in batch]) if batch else []
                for (source, image), output in zip(batch, outputs, strict=True):
                    self._note(source.stem, source.path.name, output)
                    if self.pictures is not None:
                        picture = render_output(image, output, self.palette, self.args.width)
                        save_picture(self.pictures / f"{source.stem}.jpg", picture)
                bar.update(min(self.args.batch, len(sources) - start))
        return faults

    def run_video(self, source: Source) -> list[str]:
        """Run on a video frame by frame; gives its fault, if any."""
        capture = cv2.VideoCapture(str(source.path))
        if not capture.isOpened():
            return [f"{source.path}: not a video that OpenCV can read"]
        pictures = self._video_pictures(capture, source)
        if self.pictures is None:
            for _ in pictures:
                pass
            return []
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        with replacing(self.pictures / f"{source.stem}.mp4") as temporary:
            write_video(temporary, pictures, rate)
        return []

    def _video_pictures(self, capture: cv2.VideoCapture, source: Source) -> Iterator[np.ndarray]:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        number = 0
        with tqdm(total=max(count, 0) or None, desc=source.path.name) as bar:
            while frames := read_frames(capture, self.args.batch):
                for frame, output in zip(frames, self.predictor(frames), strict=True):
                    self._note(f"{source.stem}/{number:06d}", f"{number:06d}.jpg", output)
                    yield render_output(frame, output, self.palette, self.args.width)
                    number += 1
                    bar.update()

    def _note(self, stem: str, image: str, output: dict[str, Any]) -> None:
        if self.folder is None:
            return
        id_map, segments = panoptic_map(output)
        name = (Path(stem).parent / image).as_posix()
        self.folder.add(f"{stem}.png", name, id_map, segments)


def main(args: argparse.Namespace) -> int:
    """Run on everything; returns the exit status."""
    if not (args.output or args.coco_panoptic):
        raise ValueError("give --output, --coco-panoptic or both")
    sources = find_sources(args.input)
    cfg = command_line.load_config(args.config_file, args.opts, best=True)
    table = load_categories(args, cfg)
    demo = Demo(args, cfg, table)
    left = [s for s in sources if not (args.resume and demo.is_finished(s))]
    try:
        faults = demo.run_images([s for s in left if not s.is_video])
        for source in left:
            if source.is_video:
                faults += demo.run_video(source)
    finally:
        if demo.folder is not None:
            demo.folder.save()
    print(f"{len(left) - len(faults)} done, {len(sources) - len(left)} were finished before")
    for fault in faults:
        print(f"not done: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(argument_parser().parse_args()))
