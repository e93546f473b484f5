"""The JSON that COCO's formats have in common: images, annotations and categories."""

import os
from typing import Any

from detr_d2.utils.files import read_json

LISTS = ("images", "annotations", "categories")


def missing_lists(content: Any) -> list[str]:
    """Which of the three lists a JSON's content does not have."""
    lists = content if isinstance(content, dict) else {}
    return [name for name in LISTS if not isinstance(lists.get(name), list)]


def read_coco_lists(
    path: str | os.PathLike[str], annotation_format: str = "COCO JSON"
) -> dict[str, Any]:
    """Read a COCO JSON of any annotation format and check that its three lists are there.

    Args:
        path: the file.
        annotation format: its name in messages.

    Raises:
        ValueError: not valid JSON, or a list is missing.
        OSError: the file cannot be read.
    """
    content = read_json(path)
    if missing := missing_lists(content):
        raise ValueError(f"{path}: no list {', '.join(missing)}; {annotation_format} has {LISTS}")
    return content
