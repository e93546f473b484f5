"""Conversion of masks in any annotation format into COCO-panoptic data sets."""
