"""What a conversion does for one image, in a worker process."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detr_d2.conversion.canvas import Kind
from detr_d2.conversion.formats.base import AnnotationFormat, Sample
from detr_d2.conversion.rasterize import Rules, paint
from detr_d2.data.coco_writer import write_id_png
from detr_d2.data.image_files import place_image
from detr_d2.data.image_io import UnreadableError, look_at_image


@dataclass(frozen=True)
class Work:
    """What is the same for all images of a conversion.

    `folder` is where `images/` and `panoptic/` are written, None for a dry run; `images` a mode of
    `place_image`.
    """

    annotation_format: AnnotationFormat
    kinds: tuple[Kind, ...]
    rules: Rules
    rest_id: int | None
    folder: str | None
    images: str


# A sample, its image id, and its name in the result.
Task = tuple[Sample, int, str]


def convert_image(work: Work, task: Task) -> dict[str, Any]:
    """Read one image's annotation and write its PNG and its image.

    Returns:
        `sample` (its name) and either `reason`, why it was skipped, or the entries `image` and
        `annotation` of the panoptic JSON, `void` (share of void pixels) and `look` (a hash).

    Raises:
        OSError: the result cannot be written.
    """
    sample, number, name = task
    try:
        image = _image_file(work, sample)
        facts = look_at_image(image)
        drawing = work.annotation_format.read(sample, facts)
        ids, segments = paint(drawing, work.kinds, work.rules, work.rest_id)
    except UnreadableError as error:
        return {"sample": sample.name, "reason": str(error)}
    png = os.path.splitext(name)[0] + ".png"
    if work.folder is not None:
        write_id_png(Path(work.folder, "panoptic", png), ids)
        place_image(image, Path(work.folder, "images", name), work.images)
    height, width = facts.size
    return {
        "sample": sample.name,
        "image": {"id": number, "file_name": name, "height": height, "width": width},
        "annotation": {"image_id": number, "file_name": png, "segments_info": segments},
        "void": round(1 - sum(s["area"] for s in segments) / (height * width), 6),
        "look": facts.look,
    }


def _image_file(work: Work, sample: Sample) -> Any:
    """The image's path, or a stream of the image that the annotation holds."""
    if sample.image is not None:
        return sample.image
    return _EmbeddedImage(work.annotation_format.image_bytes(sample), sample.name)


class _EmbeddedImage(io.BytesIO):
    """An image in memory that names itself in messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return f"the image embedded for {self._name}"
