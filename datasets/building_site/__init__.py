"""Synthetic images of a building site with panoptic ground truth."""
