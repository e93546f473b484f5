"""Convert the images of a set one by one, in worker processes."""

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from detr_d2.conversion.formats.base import AnnotationFormat, Sample
from detr_d2.conversion.rasterize import Rules, TargetClass, rasterize
from detr_d2.data.coco_writer import write_id_png
from detr_d2.data.image_io import UnreadableError, inspect_image, place_image

IMAGES_PER_CALL, CALLS_PER_WORKER = 4, 3


@dataclass(frozen=True)
class ImageTask:
    """One image to convert: its sample, its image id, and its file name in the result."""

    sample: Sample
    image_id: int
    file_name: str


@dataclass(frozen=True)
class ImageConverter:
    """The settings of a conversion that are the same for all its images.

    `folder` is where `images/` and `panoptic/` are written, None for a dry run; `images` a mode of
    `place_image`.
    """

    annotation_format: AnnotationFormat
    classes: tuple[TargetClass, ...]
    rules: Rules
    background_id: int | None
    folder: str | None
    images: str

    def convert(self, task: ImageTask) -> dict[str, Any]:
        """Read one image's annotation and write its PNG and its image.

        Returns:
            `sample` (its name) and either `reason`, why it was skipped, or the entries `image` and
            `annotation` of the panoptic JSON, `void` (share of void pixels), `hash`, `lost`:
            reason, category id and number of annotations that gave no segment, and `bad`: what
            was wrong with annotations that were skipped.

        Raises:
            OSError: the result cannot be written.
        """
        sample = task.sample
        try:
            image = self._image_file(sample)
            info = inspect_image(image)
            annotation = self.annotation_format.read(sample, info)
            ids, segments, lost = rasterize(
                annotation, self.classes, self.rules, self.background_id
            )
        except UnreadableError as error:
            return {"sample": sample.name, "reason": str(error)}
        name, png = task.file_name, os.path.splitext(task.file_name)[0] + ".png"
        if self.folder is not None:
            write_id_png(Path(self.folder, "panoptic", png), ids)
            place_image(image, Path(self.folder, "images", name), self.images)
        height, width = info.size
        return {
            "sample": sample.name,
            "image": {"id": task.image_id, "file_name": name, "height": height, "width": width},
            "annotation": {
                "image_id": task.image_id,
                "file_name": png,
                "segments_info": segments,
            },
            "void": round(1 - sum(s["area"] for s in segments) / (height * width), 6),
            "hash": info.perceptual_hash,
            "lost": [[reason, category, n] for (reason, category), n in sorted(lost.items())],
            "bad": annotation.bad,
        }

    def _image_file(self, sample: Sample) -> Any:
        """The image's path, or a stream of the image that the annotation holds."""
        if sample.image is not None:
            return sample.image
        return _EmbeddedImage(self.annotation_format.image_bytes(sample), sample.name)


class _EmbeddedImage(io.BytesIO):
    """An image in memory that names itself in messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return f"the image embedded for {self._name}"


_converter: ImageConverter | None = None


def convert_images(
    converter: ImageConverter, tasks: Sequence[ImageTask], workers: int
) -> Iterator[dict[str, Any]]:
    """Results of `ImageConverter.convert` as they come, with few images in memory at a time.

    Raises:
        OSError: a result cannot be written, or a worker process was killed.
    """
    if workers <= 1 or len(tasks) <= IMAGES_PER_CALL:
        for task in tasks:
            yield converter.convert(task)
        return
    starts = iter(range(0, len(tasks), IMAGES_PER_CALL))
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(converter,)) as pool:
        running: set[Future[list[dict[str, Any]]]] = set()
        try:
            while True:
                for start in starts:
                    running.add(pool.submit(_convert_tasks, tasks[start : start + IMAGES_PER_CALL]))
                    if len(running) >= workers * CALLS_PER_WORKER:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker process was killed (out of memory?); finished images are kept, start "
                "again with fewer workers"
            ) from error
        finally:
            for future in running:
                future.cancel()


def _start_worker(converter: ImageConverter) -> None:
    """Keep the converter, once in every worker process."""
    global _converter
    _converter = converter
    cv2.setNumThreads(0)


def _convert_tasks(tasks: Sequence[ImageTask]) -> list[dict[str, Any]]:
    """Convert several images in a worker process."""
    assert _converter is not None
    return [_converter.convert(task) for task in tasks]
