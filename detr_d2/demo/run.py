"""Run a predictor on images, videos and a camera. One bad image never stops the others."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from detr_d2.demo.outputs import Output, Pictures
from detr_d2.engine import Predictor
from detr_d2.utils.files import replacing
from detr_d2.visualization import Palette, read_image, render_output
from detr_d2.visualization.video import Source, read_frames, write_video

# Of videos that do not say how many pictures a second they have.
DEFAULT_RATE = 25.0
# Errors of single images: unreadable, of an absurd size, too large for the memory.
IMAGE_ERRORS = (OSError, ValueError, RuntimeError, MemoryError)
Read = tuple[Source, np.ndarray]


class Runner:
    """The model, and the outputs that get what it finds.

    Args:
        predictor: the model.
        outputs: each gets every image and, of videos, every frame.
        batch: images or frames run at a time.
        quiet: no progress bars.
    """

    def __init__(
        self, predictor: Predictor, outputs: Sequence[Output], batch: int = 1, quiet: bool = False
    ) -> None:
        self.predictor, self.outputs, self.batch = predictor, outputs, batch
        # None: tqdm shows none in a file that is no terminal.
        self._hidden = True if quiet else None
        self._palette = Palette.from_categories(predictor.categories.categories)

    def has(self, source: Source) -> bool:
        """Whether an earlier run has finished an image or video; of a video its MP4 tells."""
        return bool(self._telling(source)) and not self.lacks(source)

    def lacks(self, source: Source) -> bool:
        """Whether something of an image or video is not there, or not any more."""
        return any(not output.has(source) for output in self._telling(source))

    def _telling(self, source: Source) -> list[Output]:
        return [o for o in self.outputs if not source.is_video or isinstance(o, Pictures)]

    def run_images(self, sources: Sequence[Source]) -> list[str]:
        """Run on images; return a line for each that failed."""
        faults: list[str] = []
        hidden = self._hidden if sources else True
        with tqdm(total=len(sources), unit=" images", disable=hidden) as bar:
            for start in range(0, len(sources), self.batch):
                batch = sources[start : start + self.batch]
                found = self._predict(_read(batch, faults), faults)
                for source, image, output in found:
                    for target in self.outputs:
                        target.add(source, image, output)
                bar.update(len(batch))
        return faults

    def _predict(
        self, batch: list[Read], faults: list[str]
    ) -> list[tuple[Source, np.ndarray, dict[str, Any]]]:
        """Run a batch; if that fails, each of its images alone, to find the one at fault."""
        if not batch:
            return []
        try:
            outputs = self.predictor([image for _, image in batch])
        except IMAGE_ERRORS as error:
            if len(batch) == 1:
                faults.append(_fault(batch[0][0].path, error))
                return []
            return [found for pair in batch for found in self._predict([pair], faults)]
        return [(*pair, output) for pair, output in zip(batch, outputs, strict=True)]

    def run_video(self, source: Source, target: Path | None, width: int | None) -> list[str]:
        """Run on a video; return its fault, if any.

        Args:
            source: the video; the outputs get its frames as "name/000000.jpg".
            target: the MP4 to write; None writes none.
            width: of the MP4 in pixels; None keeps the video's.
        """
        capture = cv2.VideoCapture(str(source.path))
        if not capture.isOpened():
            return [f"{source.path}: not a video that OpenCV can read"]
        rate = capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE
        try:
            self.write_pictures(self.frames(capture, source), target, width, rate)
        except IMAGE_ERRORS as error:
            return [_fault(source.path, error)]
        finally:
            capture.release()
        return []

    def write_pictures(
        self,
        frames: Iterator[tuple[np.ndarray, dict[str, Any]]],
        target: Path | None,
        width: int | None,
        rate: float,
    ) -> None:
        """Render frames into an MP4; without a target only run through them."""
        if target is None:
            for _ in frames:
                pass
            return
        pictures = (self.render(*found, width) for found in frames)
        with replacing(target) as temporary:
            write_video(temporary, pictures, rate)

    def render(
        self, image: np.ndarray, output: dict[str, Any], width: int | None = None
    ) -> np.ndarray:
        """Render what was found in an image over it: (h, w, 3) uint8 RGB, `width` wide."""
        return render_output(image, output, self._palette, width)

    def frames(
        self, capture: cv2.VideoCapture, source: Source
    ) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """Give the frames of a video or camera with what was found; the outputs get them too."""
        count, number = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0
        total = count if count > 0 else None
        with tqdm(total=total, desc=source.path.name, disable=self._hidden) as bar:
            while frames := read_frames(capture, self.batch):
                for frame, output in zip(frames, self.predictor(frames), strict=True):
                    name = f"{source.stem}/{number:06d}"
                    one = replace(source, path=Path(f"{name}.jpg"), stem=name)
                    for target in self.outputs:
                        target.add(one, frame, output)
                    yield frame, output
                    number += 1
                    bar.update()


def _read(sources: Sequence[Source], faults: list[str]) -> list[Read]:
    """Read images; those that cannot be read go to `faults`."""
    read = []
    for source in sources:
        try:
            read.append((source, read_image(str(source.path))))
        except IMAGE_ERRORS as error:
            faults.append(_fault(source.path, error))
    return read


def _fault(path: Path, error: BaseException) -> str:
    """Say an error of a file in one line, which begins with its path."""
    text = " ".join(str(error).removeprefix(f"{path}: ").split()) or type(error).__name__
    return f"{path}: {text if len(text) < 300 else f'{text[:300]} ...'}"
