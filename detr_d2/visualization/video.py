"""Images and videos on disk: find them, read a video's frames, write a video."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}
# As OpenCV calls them, the best first.
CODECS = ("avc1", "mp4v")
SILENT = 0


@dataclass(frozen=True)
class Source:
    """A file to run on. `stem` is its place in the output folders, without extension."""

    path: Path
    stem: str

    @property
    def is_video(self) -> bool:
        """By its extension."""
        return self.path.suffix.lower() in VIDEOS

    @property
    def name(self) -> str:
        """Path below the folder that was given, with "/"."""
        return Path(self.stem).with_name(self.path.name).as_posix()


def find_sources(inputs: list[str]) -> list[Source]:
    """All images and videos of the inputs, folders with their subfolders, in order of names.

    Raises:
        ValueError: an input gives no image or video, or two would have the same output.
    """
    found: dict[str, Source] = {}
    for text in inputs:
        paths = [Path(text)] if Path(text).exists() else sorted(map(Path, glob.glob(text)))
        files = [
            (file, path if path.is_dir() else path.parent)
            for path in paths
            for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
            if file.suffix.lower() in IMAGES | VIDEOS
        ]
        if not files:
            kinds = " ".join(sorted(IMAGES | VIDEOS))
            raise ValueError(f"{text}: no image or video there; looked for {kinds}")
        for file, root in files:
            stem = file.relative_to(root).with_suffix("").as_posix()
            if stem in found:
                raise ValueError(f"{file} and {found[stem].path} would have the same output")
            found[stem] = Source(file, stem)
    return list(found.values())


def read_frames(capture: cv2.VideoCapture, count: int) -> list[np.ndarray]:
    """The next frames of a video, RGB; fewer or none at its end."""
    frames: list[np.ndarray] = []
    while len(frames) < count:
        more, frame = capture.read()
        if not more:
            break
        frames.append(np.ascontiguousarray(frame[..., ::-1]))
    return frames


def write_video(path: str, pictures: Iterator[np.ndarray], rate: float) -> None:
    """Write RGB pictures of one size as MP4; players want even sides, so an odd one is cut.

    H.264, which browsers play, where OpenCV has the codec, else MPEG-4.

    Raises:
        ValueError: there is no picture, or OpenCV can write no video.
        OSError: pictures are missing in the file, which OpenCV does not say.
    """
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{path}: the video has no frame")
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    writer = _open_writer(path, rate, (width, height))
    count = 0
    try:
        for picture in chain([first], pictures):
            writer.write(np.ascontiguousarray(picture[:height, :width, ::-1]))
            count += 1
    finally:
        writer.release()
    found = _count_frames(path)
    # The number may come from the length in seconds, rounded.
    if found < count - 1:
        raise OSError(f"{found} of {count} pictures are in the video; is the disk full?")


def _count_frames(path: str) -> int:
    video = cv2.VideoCapture(path)
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    return count


def _open_writer(path: str, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """Open a writer of the first codec that is there; size is (width, height)."""
    # A codec that is not there is no error here.
    level = cv2.setLogLevel(SILENT)
    try:
        for codec in CODECS:
            writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*codec), rate, size)
            if writer.isOpened():
                return writer
    finally:
        cv2.setLogLevel(level)
    raise ValueError(f"{path}: OpenCV can write no MP4 of {size[0]}x{size[1]} pixels")
