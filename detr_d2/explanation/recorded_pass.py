"""Run a model on one image, record the pass, and choose the queries that the explanation shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T

from detr_d2.engine import Predictor
from detr_d2.explanation.capture import Trace, record
from detr_d2.modeling import Detr, PanopticDetr
from detr_d2.modeling.box_head import ClassPredictions
from detr_d2.visualization import Palette, resize_image

# Pixels of the longer side of picture and merge: what a browser can merge while a slider moves.
MAX_SIDE = 1066


@dataclass(frozen=True)
class RecordedPass:
    """One image, its pass through a model, and what came out.

    Attributes:
        model, trace: see `record`; the trace is that of this one image.
        picture: (H, W, 3) uint8 RGB, the image at the size of the outputs.
        original: (height, width) of the image as it was given, pixels.
        output: of the model, at the picture's size.
        palette: names and colours of the classes.
        title: names the image; weights: names the weights.
    """

    model: Detr
    trace: Trace
    picture: np.ndarray
    original: tuple[int, int]
    output: Mapping[str, Any]
    palette: Palette
    title: str
    weights: str

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture and of the merge, pixels."""
        return self.picture.shape[0], self.picture.shape[1]

    def queries(self) -> ClassPredictions:
        """Scores and classes of all queries."""
        trace = self.trace
        return self.model.postprocess.classify(trace.get("logits"), trace.get("boxes"))

    def competing(self, threshold: float) -> list[int]:
        """Queries that compete for the pixels at a score threshold, ascending."""
        found = self.queries()
        return (found.is_object & (found.scores > threshold)).nonzero()[:, 0].tolist()


def record_pass(
    predictor: Predictor, image: np.ndarray, palette: Palette, title: str = "", weights: str = ""
) -> RecordedPass:
    """Run a predictor's model on an image (H, W, 3) uint8 RGB and record the pass.

    Raises:
        ValueError: the model is neither `Detr` nor `PanopticDetr`, or gives no panoptic map though
            it could.
    """
    model = predictor.model
    if isinstance(model, PanopticDetr) and not model.postprocess.panoptic_on:
        raise ValueError("MODEL.DETR.PANOPTIC_ON is False; the explanation needs it True")
    height, width = image.shape[:2]
    factor = min(1.0, MAX_SIDE / max(height, width))
    picture = resize_image(image, max(1, round(width * factor)))
    resized = T.AugInput(image[..., ::-1] if predictor.reverse else image)
    predictor.resize(resized)
    chw = torch.from_numpy(np.ascontiguousarray(resized.image.transpose(2, 0, 1)))
    inputs = {"image": chw, "height": picture.shape[0], "width": picture.shape[1]}
    with torch.no_grad(), record(model) as trace:
        output = model([inputs])[0]
    return RecordedPass(
        model, trace.cpu(), picture, (height, width), output, palette, title, weights
    )


def choose_candidates(recorded: RecordedPass, count: int) -> tuple[list[int], float]:
    """Choose the queries that can be in the map at some threshold.

    Args:
        recorded: a pass.
        count: the best of those whose class beats "no object", and all above the model's threshold.

    Returns:
        The queries, ascending, and the lowest score threshold at which nobody else would compete.
    """
    found = recorded.queries()
    order = found.scores.argsort(descending=True, stable=True).tolist()
    ranked = [query for query in order if found.is_object[query]]
    threshold = recorded.model.postprocess.score_thresh
    count = max(count, len(recorded.competing(threshold)))
    left = ranked[count:]
    return sorted(ranked[:count]), found.scores[left[0]].item() if left else 0.0


def choose_followed(recorded: RecordedPass, candidates: list[int], count: int) -> list[int]:
    """Choose the queries whose every stage is shown: the best of the candidates, ascending.

    Where there is no candidate at all it is the best query of all, so that there is something to
    see.
    """
    scores = recorded.queries().scores
    pool = candidates or [int(scores.argmax())]
    return sorted(sorted(pool, key=lambda q: -scores[q].item())[:count])
