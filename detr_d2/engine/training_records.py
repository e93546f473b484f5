"""Choose the images to train on."""

import logging
from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts

logger = logging.getLogger(__name__)


def training_records(cfg: CfgNode) -> list[dict[str, Any]]:
    """Return the records of DATASETS.TRAIN, without the empty ones by config.

    DATALOADER.FILTER_EMPTY_ANNOTATIONS says so.

    Detectron2's own filter looks for "annotations" and never sees a panoptic record.

    Raises:
        ValueError: none is left.
    """
    records: list[dict[str, Any]] = get_detection_dataset_dicts(
        list(cfg.DATASETS.TRAIN), filter_empty=False
    )
    # Weighted samplers count the records themselves, before any filter.
    if not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS or "Weighted" in cfg.DATALOADER.SAMPLER_TRAIN:
        return records
    kept = [record for record in records if objects_of(record)]
    if len(kept) < len(records):
        logger.info(
            "Skipped %d of %d images without a segment; DATALOADER.FILTER_EMPTY_ANNOTATIONS "
            "False keeps them",
            len(records) - len(kept),
            len(records),
        )
    if not kept:
        raise ValueError(f"no image of {', '.join(cfg.DATASETS.TRAIN)} has a segment to learn")
    return kept


def objects_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the segments or annotations that are learned: all but crowds."""
    segments = record.get("segments_info", record.get("annotations", [{}]))
    return [segment for segment in segments if not segment.get("iscrowd", 0)]
