"""The main job as a user runs it: stage 1, stage 2, --eval-only, and what there is to look at."""

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detr_d2.engine import Predictor, command_line
from detr_d2.register import register_dataset
from detr_d2.utils.files import write_json
from detr_d2.visualization import (
    Palette,
    image_grid,
    read_image,
    render_ground_truth,
    render_output,
    resize_image,
    save_picture,
)

import numpy as np
import torch
from calibration import calibrate
from detectron2.data import DatasetCatalog
from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
COLUMNS = ("image", "ground truth", "prediction")
# Which images of the set, by their number of segments, the documents' picture shows.
PICTURE_QUANTILES = (0.5, 0.9)


@dataclass(frozen=True)
class DataSet:
    """A COCO-panoptic set and the name to register it by."""

    name: str
    image_root: Path
    panoptic_root: Path
    panoptic_json: Path

    def option(self) -> list[str]:
        """As tools/train_net.py takes it."""
        paths = (self.image_root, self.panoptic_root, self.panoptic_json)
        return ["--dataset", self.name, *map(str, paths)]


class Clock:
    """Adds up what subprocesses take: seconds, and seconds of all their threads on a processor."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self.start()

    def start(self) -> None:
        """Begin, or go on after `stop`."""
        self._began = self._now()

    def stop(self) -> None:
        """Add the time since `start`; of processes that have ended by now."""
        now = self._now()
        self.seconds += now[0] - self._began[0]
        self.cpu_seconds += now[1] - self._began[1]

    @staticmethod
    def _now() -> tuple[float, float]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Job:
    """Two configs, the data sets they name, and the folder for everything that comes out.

    `seed` decides every random number of both stages. `pictures` counts the rows of
    predictions.png. `picture` is a small one for the documents, with or without its column of
    images.
    """

    out: Path
    box_config: Path
    panoptic_config: Path
    datasets: list[DataSet]
    pictures: int
    picture: Path | None = None
    show_images: bool = True
    seed: int = 1

    def run(self) -> dict[str, Any]:
        """Train both stages, evaluate, and write metrics.json and predictions.png.

        An earlier run's results in `out` are replaced.

        Raises:
            subprocess.CalledProcessError: a step failed; its own message stands above.
        """
        for folder in (self.out / "boxes", self.out / "panoptic"):
            shutil.rmtree(folder, ignore_errors=True)
        # On a shared machine the speed changes: measured before, between and after the stages.
        calibration = [calibrate()]
        clock = Clock()
        self._train_net("1 of 2, boxes", self.box_config, "boxes", [])
        clock.stop()
        calibration.append(calibrate())
        weights = ["MODEL.WEIGHTS", str(self.out / "boxes/model_ema.pth")]
        clock.start()
        self._train_net("2 of 2, masks", self.panoptic_config, "panoptic", weights)
        clock.stop()
        calibration.append(calibrate())
        weights = ["MODEL.WEIGHTS", str(self.out / "panoptic/model_ema.pth")]
        self._train_net("evaluation", self.panoptic_config, "panoptic", weights, "--eval-only")
        metrics = self._metrics(clock, sum(calibration) / len(calibration))
        write_json(self.out / "metrics.json", metrics, indent=2)
        self._draw(weights)
        self._print(metrics)
        return metrics

    def _train_net(
        self, title: str, config: Path, stage: str, opts: list[str], *flags: str
    ) -> None:
        print(f"\n=== {title}, seed {self.seed}: {self.out / stage}", flush=True)
        command = [sys.executable, str(ROOT / "tools/train_net.py"), *flags]
        command += ["--config-file", str(config)]
        for dataset in self.datasets:
            command += dataset.option()
        command += ["OUTPUT_DIR", str(self.out / stage), "SEED", str(self.seed), *opts]
        subprocess.run(command, check=True, cwd=ROOT)

    def _metrics(self, clock: "Clock", calibration: float) -> dict[str, Any]:
        figures = json.loads((self.out / "panoptic/evaluation.json").read_text())
        images = len(json.loads(self.datasets[-1].panoptic_json.read_text())["images"])
        return {
            **{k: round(v, 2) for k, v in figures.items() if v is not None},
            "images": images,
            "seed": self.seed,
            "train_seconds": round(clock.seconds),
            "train_cpu_seconds": round(clock.cpu_seconds),
            "threads": torch.get_num_threads(),
            "calibration_seconds": round(calibration, 3),
        }

    def _draw(self, weights: list[str]) -> None:
        """Write predictions.png of images spread over the last set, and the documents' picture."""
        for dataset in self.datasets:
            register_dataset(
                dataset.name,
                image_root=dataset.image_root,
                panoptic_root=dataset.panoptic_root,
                panoptic_json=dataset.panoptic_json,
            )
        predictor = Predictor(command_line.load_config(str(self.panoptic_config), weights))
        records = DatasetCatalog.get(self.datasets[-1].name)
        wanted = np.linspace(0, len(records) - 1, min(self.pictures, len(records)))
        spread = [records[i] for i in wanted.round().astype(int)]
        save_picture(self.out / "predictions.png", image_grid_of(spread, predictor, width=400))
        if self.picture is not None:
            # Chosen by the ground truth, not by the prediction: neither empty nor the fullest.
            by_segments = sorted(records, key=lambda record: len(record["segments_info"]))
            chosen = [by_segments[round(q * (len(records) - 1))] for q in PICTURE_QUANTILES]
            columns = COLUMNS if self.show_images else COLUMNS[1:]
            grid = image_grid_of(chosen, predictor, 250, columns)
            save_picture(self.picture, grid)

    def _print(self, metrics: dict[str, Any]) -> None:
        print("\n" + tabulate(list(metrics.items()), ("figure", "value"), "simple_outline"))
        print(f"figures:  {self.out / 'metrics.json'}")
        print(f"pictures: {self.out / 'predictions.png'}")
        if self.picture is not None:
            print(f"          {self.picture}")


def image_grid_of(
    records: Sequence[Mapping[str, Any]],
    predictor: Predictor,
    width: int,
    columns: Sequence[str] = COLUMNS,
) -> np.ndarray:
    """Predict and lay out one row a record; without the column of images, maps are on white."""
    palette = Palette.from_categories(predictor.categories.categories)
    rows, categories = [], set()
    for record in records:
        image = read_image(record["file_name"])
        output = predictor(image)
        if columns[0] != COLUMNS[0]:
            image = np.full_like(image, 255)
        row = {
            "image": resize_image(image, width),
            "ground truth": render_ground_truth(image, record, palette, width),
            "prediction": render_output(image, output, palette, width),
        }
        rows.append([row[column] for column in columns])
        for segments in (record["segments_info"], output["panoptic_seg"][1]):
            categories |= {segment["category_id"] for segment in segments}
    return image_grid(rows, columns, palette=palette, categories=categories)
