"""The figures that people quote, out of Detectron2's nested results."""

import math
from collections.abc import Mapping

# Name here -> (task, metric) there.
FIGURES = {
    "PQ": ("panoptic_seg", "PQ"),
    "SQ": ("panoptic_seg", "SQ"),
    "RQ": ("panoptic_seg", "RQ"),
    "PQ_th": ("panoptic_seg", "PQ_th"),
    "PQ_st": ("panoptic_seg", "PQ_st"),
    "box_AP": ("bbox", "AP"),
    "mask_AP": ("segm", "AP"),
    "mIoU": ("sem_seg", "mIoU"),
}


def flat_results(results: Mapping[str, Mapping[str, float]]) -> dict[str, float | None]:
    """Flatten the results of one data set.

    Args:
        results: {task: {metric: percent}} as Detectron2's evaluators give them.

    Returns:
        Every name of `FIGURES` with its percentage, or None where it was not measured or is not a
        number (things of a set without things). Ready for JSON.
    """
    flat: dict[str, float | None] = {}
    for name, (task, metric) in FIGURES.items():
        value = results.get(task, {}).get(metric)
        flat[name] = float(value) if value is not None and math.isfinite(value) else None
    return flat
