"""Data sets: COCO-panoptic files, registration, augmentation and the mapper."""
