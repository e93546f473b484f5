"""The main job as a user runs it: stage 1, stage 2, --eval-only, and what there is to look at."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detr_d2.engine import Predictor, command_line

# detr_d2 before detectron2, since it silences a warning of that import.
from detr_d2.register import register_dataset
from detr_d2.utils.files import write_json
from detr_d2.visualization import (
    Palette,
    comparison_row,
    picture_sheet,
    read_image,
    save_picture,
)

# isort: split
import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


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


@dataclass(frozen=True)
class Job:
    """Two configs, the data sets they name, and the folder for everything that comes out."""

    out: Path
    box_config: Path
    panoptic_config: Path
    datasets: list[DataSet]
    pictures: int

    def run(self) -> dict[str, Any]:
        """Train both stages, evaluate, and write metrics.json and predictions.png.

        An earlier run's results in `out` are replaced.

        Raises:
            subprocess.CalledProcessError: a step failed; its own message stands above.
        """
        for folder in (self.out / "boxes", self.out / "panoptic"):
            shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        self._train_net("1 of 2, boxes", self.box_config, "boxes", [])
        weights = ["MODEL.WEIGHTS", str(self.out / "boxes/model_ema.pth")]
        self._train_net("2 of 2, masks", self.panoptic_config, "panoptic", weights)
        seconds = time.perf_counter() - start
        weights = ["MODEL.WEIGHTS", str(self.out / "panoptic/model_ema.pth")]
        self._train_net("evaluation", self.panoptic_config, "panoptic", weights, "--eval-only")
        metrics = self._metrics(seconds)
        write_json(self.out / "metrics.json", metrics, indent=2)
        self._draw(weights)
        self._print(metrics)
        return metrics

    def _train_net(
        self, title: str, config: Path, stage: str, opts: list[str], *flags: str
    ) -> None:
        print(f"\n=== {title}: {self.out / stage}", flush=True)
        command = [sys.executable, str(ROOT / "tools/train_net.py"), *flags]
        command += ["--config-file", str(config)]
        for dataset in self.datasets:
            command += dataset.option()
        command += ["MODEL.DEVICE", device(), "OUTPUT_DIR", str(self.out / stage), *opts]
        subprocess.run(command, check=True, cwd=ROOT)

    def _metrics(self, seconds: float) -> dict[str, Any]:
        figures = json.loads((self.out / "panoptic/evaluation.json").read_text())
        images = len(json.loads(self.datasets[-1].panoptic_json.read_text())["images"])
        return {
            **{k: round(v, 2) for k, v in figures.items() if v is not None},
            "images": images,
            "train_seconds": round(seconds),
        }

    def _draw(self, weights: list[str]) -> None:
        """Image, ground truth and prediction of images spread over the validation set."""
        for dataset in self.datasets:
            register_dataset(
                dataset.name,
                image_root=dataset.image_root,
                panoptic_root=dataset.panoptic_root,
                panoptic_json=dataset.panoptic_json,
            )
        cfg = command_line.load_config(
            str(self.panoptic_config), ["MODEL.DEVICE", device(), *weights]
        )
        name = self.datasets[-1].name
        records = DatasetCatalog.get(name)
        palette = Palette.from_metadata(MetadataCatalog.get(name))
        predictor = Predictor(cfg)
        rows, categories = [], set()
        wanted = np.linspace(0, len(records) - 1, min(self.pictures, len(records)))
        for record in (records[i] for i in wanted.round().astype(int)):
            output = predictor([read_image(record["file_name"])])[0]
            rows.append(comparison_row(record, output, palette))
            categories |= {s["category_id"] for s in record["segments_info"]}
            categories |= {s["category_id"] for s in output["panoptic_seg"][1]}
        sheet = picture_sheet(
            rows,
            ("image", "ground_truth", "prediction"),
            palette=palette,
            categories=categories,
        )
        save_picture(self.out / "predictions.png", sheet)

    def _print(self, metrics: dict[str, Any]) -> None:
        print("\n" + tabulate(list(metrics.items()), ("figure", "value"), "simple_outline"))
        print(f"figures:  {self.out / 'metrics.json'}")
        print(f"pictures: {self.out / 'predictions.png'}")


def device() -> str:
    """A GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
