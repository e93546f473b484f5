"""What a conversion does for one photo, in a worker process."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detr_d2.conversion.canvas import Kind
from detr_d2.conversion.formats.base import Form, Sample
from detr_d2.conversion.rasterize import Rules, paint
from detr_d2.data.coco_writer import write_id_png
from detr_d2.data.image_files import place_photo
from detr_d2.data.image_io import UnreadableError, look_at_photo


@dataclass(frozen=True)
class Work:
    """What is the same for all photos of a conversion.

    `folder` is where `images/` and `panoptic/` are written, None for a dry run; `photos` a mode of
    `place_photo`.
    """

    form: Form
    kinds: tuple[Kind, ...]
    rules: Rules
    rest_id: int | None
    folder: str | None
    photos: str


# A sample, its image id, and its name in the result.
Task = tuple[Sample, int, str]


def convert_photo(work: Work, task: Task) -> dict[str, Any]:
    """Read one photo's annotation and write its PNG and its photo.

    Returns:
        `sample` (its name) and either `reason`, why it was left out, or the entries `image` and
        `annotation` of the panoptic JSON, `void` (share of void pixels) and `look` (a hash).

    Raises:
        OSError: the result cannot be written.
    """
    sample, number, name = task
    try:
        photo = _photo_file(work, sample)
        facts = look_at_photo(photo)
        drawing = work.form.read(sample, facts)
        ids, segments = paint(drawing, work.kinds, work.rules, work.rest_id)
    except UnreadableError as error:
        return {"sample": sample.name, "reason": str(error)}
    png = os.path.splitext(name)[0] + ".png"
    if work.folder is not None:
        write_id_png(Path(work.folder, "panoptic", png), ids)
        place_photo(photo, Path(work.folder, "images", name), work.photos)
    height, width = facts.size
    return {
        "sample": sample.name,
        "image": {"id": number, "file_name": name, "height": height, "width": width},
        "annotation": {"image_id": number, "file_name": png, "segments_info": segments},
        "void": round(1 - sum(s["area"] for s in segments) / (height * width), 6),
        "look": facts.look,
    }


def _photo_file(work: Work, sample: Sample) -> Any:
    """The photo's path, or a stream of the photo that the annotation holds."""
    if sample.photo is not None:
        return sample.photo
    return _EmbeddedPhoto(work.form.photo_bytes(sample), sample.name)


class _EmbeddedPhoto(io.BytesIO):
    """A photo in memory that names itself in messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return f"the photo embedded for {self._name}"
