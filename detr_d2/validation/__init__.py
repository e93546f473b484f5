"""Checks of COCO-panoptic data sets, and corrected copies."""
