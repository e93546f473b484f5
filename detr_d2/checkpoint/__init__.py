"""Weights: reading files safely, knowing their layout, and loading them into a model.

`reading` opens a file or folder, `layouts` recognises what is in it and renames it to ours (and
back), `classes` finds the class of each row, `loading` puts it all into a model.
"""

from detr_d2.checkpoint.layouts import Weights, open_weights
from detr_d2.checkpoint.loading import LoadingRules, load_weights
from detr_d2.checkpoint.loading_report import LoadingReport
from detr_d2.checkpoint.reading import WeightsError

__all__ = [
    "LoadingReport",
    "LoadingRules",
    "Weights",
    "WeightsError",
    "load_weights",
    "open_weights",
]
