"""Where the findings of a run go: pictures, a COCO-panoptic set, files of annotation programs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detr_d2.annotation_export import AnnotationWriter, Finding
from detr_d2.data.coco_writer import PanopticFolder
from detr_d2.engine.predictor import panoptic_map
from detr_d2.visualization import Palette, render_output, save_picture
from detr_d2.visualization.video import IMAGES, VIDEOS, Source


class Output(ABC):
    """Takes images, one after the other, with what the model found in them."""

    @abstractmethod
    def has(self, source: Source) -> bool:
        """Whether an earlier run has written everything of an image."""

    @abstractmethod
    def add(self, source: Source, image: np.ndarray, output: dict[str, Any]) -> None:
        """Write one image (H, W, 3) uint8 RGB and the model's dictionary of it.

        Raises:
            ValueError: the model does not give what this output needs.
        """

    def finish(self) -> None:  # noqa: B027  most need nothing
        """Write what needs all images; called after errors too, for those that were added."""


class Pictures(Output):
    """JPEGs of the segments over the image; the frames of a video go into its MP4 instead.

    Args:
        targets: path by the source's stem, see `picture_targets`.
        palette: names and colours.
        width: of the pictures in pixels; None keeps the image's.
    """

    def __init__(self, targets: dict[str, Path], palette: Palette, width: int | None) -> None:
        self.targets, self.palette, self.width = targets, palette, width

    def has(self, source: Source) -> bool:
        """Whether the picture is there."""
        return self.targets[source.stem].is_file()

    def add(self, source: Source, image: np.ndarray, output: dict[str, Any]) -> None:
        """Render and write it."""
        if source.stem not in self.targets:
            return
        picture = render_output(image, output, self.palette, self.width)
        save_picture(self.targets[source.stem], picture)


def picture_targets(sources: Sequence[Source], output: str) -> dict[str, Path]:
    """Return the path of the picture or video of each source, by its stem.

    Args:
        sources: what is run on.
        output: a folder; or a file, by its extension, which only one source can have.

    Raises:
        ValueError: a file for several sources, or a picture for a video or the reverse.
    """
    suffix = Path(output).suffix.lower()
    if Path(output).is_dir() or suffix not in IMAGES | VIDEOS:
        if Path(output).is_file():
            raise ValueError(f"{output} is a file, but neither a picture nor a video")
        return {
            source.stem: Path(output) / f"{source.stem}{'.mp4' if source.is_video else '.jpg'}"
            for source in sources
        }
    if len(sources) != 1:
        raise ValueError(f"{output} is one file for {len(sources)} inputs; give a folder")
    if sources[0].is_video != (suffix in VIDEOS):
        kind = "video (.mp4)" if sources[0].is_video else "picture (.jpg, .png)"
        raise ValueError(f"{output}: {sources[0].path} gives a {kind}")
    return {sources[0].stem: Path(output)}


class Panoptic(Output):
    """A COCO-panoptic set."""

    def __init__(self, folder: PanopticFolder) -> None:
        self.folder = folder

    def has(self, source: Source) -> bool:
        """Whether the image is noted, and its PNG is there."""
        return source.name in self.folder

    def add(self, source: Source, image: np.ndarray, output: dict[str, Any]) -> None:
        """Write the PNG and note the segments."""
        self.folder.add(source.name, *panoptic_map(output))

    def finish(self) -> None:
        """Write the JSON."""
        self.folder.save()


class Annotations(Output):
    """Files that an annotation program opens."""

    def __init__(self, writer: AnnotationWriter) -> None:
        self.writer = writer

    def has(self, source: Source) -> bool:
        """Whether the image is written."""
        return source.name in self.writer

    def add(self, source: Source, image: np.ndarray, output: dict[str, Any]) -> None:
        """Write the segments as polygons."""
        id_map, segments = panoptic_map(output)
        self.writer.add(Finding(source.name, source.path, id_map, segments))

    def finish(self) -> None:
        """Write the file of all images, where the format has one."""
        self.writer.finish()
