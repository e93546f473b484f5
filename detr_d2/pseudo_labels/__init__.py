"""Pseudo-labels for stuff: things labelled manually, all else by a pretrained panoptic model."""

from detr_d2.pseudo_labels.merge import MergeRules, Predicted, merge_labels
from detr_d2.pseudo_labels.result import LabellingReport
from detr_d2.pseudo_labels.run import label_stuff

__all__ = ["LabellingReport", "MergeRules", "Predicted", "label_stuff", "merge_labels"]
