"""Curves of a training: its losses, and what its evaluations gave."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from detr_d2.visualization.grid import PAPER

DPI = 100
PLOT_WIDTH, PLOT_HEIGHT = 420, 270
# Curves of fewer points show them: one point alone is no line.
FEW_POINTS = 30
PAPER_COLOR = "#{:02x}{:02x}{:02x}".format(*PAPER)
# Figures of an evaluation by Detectron2's names, and their labels.
FIGURES = {
    "panoptic_seg/PQ": "PQ",
    "panoptic_seg/PQ_th": "PQ things",
    "panoptic_seg/PQ_st": "PQ stuff",
    "bbox/AP": "box AP",
    "segm/AP": "mask AP",
}

# Iterations and values by name.
Curves = dict[str, tuple[list[int], list[float]]]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read metrics.json, of which each line is an iteration.

    A training that was begun again goes back to an earlier iteration: what was noted from there on
    before counts no longer. Figures of an evaluation may come after the losses of a later
    iteration. A last line that is still being written is skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not JSON.
    """
    entries: list[dict[str, Any]] = []
    # Iteration of the last losses.
    latest = -1
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(True), start=1):
        if not line.endswith("\n"):
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: line {number} is not JSON: {error}") from None
        if any(is_loss(name) for name in entry):
            if entry["iteration"] <= latest:
                entries = [e for e in entries if e["iteration"] < entry["iteration"]]
            latest = entry["iteration"]
        entries.append(entry)
    return sorted(entries, key=lambda entry: entry["iteration"])


def read_losses(path: Path) -> Curves:
    """Losses of the last layer and their sum, from metrics.json.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not JSON, or there is no loss in the file.
    """
    entries = read_metrics(path)
    names = {name for entry in entries for name in entry if is_loss(name)}
    if not names:
        raise ValueError(f"{path}: no loss in it; a training notes them every 20 iterations")
    in_order = sorted(names, key=lambda name: (name != "total_loss", name))
    held_out = {"validation/total_loss": "total_loss, validation"}
    return _curves(entries, {name: name for name in in_order} | held_out)


def read_figures(path: Path) -> Curves:
    """What the evaluations gave, from metrics.json; empty without an evaluation."""
    return _curves(read_metrics(path), FIGURES)


def is_loss(name: str) -> bool:
    """Whether a metric is the sum or a loss that no digit marks as an earlier layer's."""
    return name == "total_loss" or (name.startswith("loss_") and not name[-2:].strip("_").isdigit())


def plot_losses(folders: Sequence[Path], width: int) -> np.ndarray:
    """Losses of every folder side by side: (PLOT_HEIGHT, width, 3) uint8 RGB."""
    figure = _figure(width)
    for axes, folder in zip(
        figure.subplots(1, len(folders), squeeze=False)[0], folders, strict=True
    ):
        _plot(axes, read_losses(folder / "metrics.json"), folder.name)
        axes.set_yscale("log")
    return _pixels(figure)


def plot_training(folder: Path) -> np.ndarray:
    """Losses of a training beside its figures over time: (PLOT_HEIGHT, width, 3) uint8 RGB."""
    losses, figures = (read(folder / "metrics.json") for read in (read_losses, read_figures))
    figure = _figure(PLOT_WIDTH * 2)
    left, right = figure.subplots(1, 2)
    _plot(left, losses, "losses")
    left.set_yscale("log")
    _plot(right, figures, "evaluation" if figures else "no evaluation")
    right.set_ylim(0, 100)
    return _pixels(figure)


def stack_pictures(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures (h, w, 3) one below the other, on paper as wide as the widest."""
    width = max(picture.shape[1] for picture in pictures)
    stack = np.full((sum(len(picture) for picture in pictures), width, 3), PAPER, np.uint8)
    top = 0
    for picture in pictures:
        stack[top : top + len(picture), : picture.shape[1]] = picture
        top += len(picture)
    return stack


def _curves(entries: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Curves:
    curves: Curves = {}
    for name, label in labels.items():
        points = [
            (entry["iteration"], entry[name])
            for entry in entries
            if not math.isnan(entry.get(name, math.nan))
        ]
        if points:
            curves[label] = ([x for x, _ in points], [y for _, y in points])
    return curves


def _figure(width: int) -> Figure:
    size = (width / DPI, PLOT_HEIGHT / DPI)
    return Figure(size, DPI, facecolor=PAPER_COLOR, layout="constrained")


def _plot(axes: Axes, curves: Curves, title: str) -> None:
    for name, (iterations, values) in curves.items():
        wide = 2.0 if name == "total_loss" else 1.2
        marker = "o" if len(iterations) < FEW_POINTS else ""
        axes.plot(iterations, values, label=name, linewidth=wide, marker=marker, markersize=4)
    axes.set(title=title, xlabel="iteration", facecolor=PAPER_COLOR)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(fontsize="small", frameon=False)


def _pixels(figure: Figure) -> np.ndarray:
    renderer = FigureCanvasAgg(figure)
    renderer.draw()
    return np.asarray(renderer.buffer_rgba())[..., :3]
