"""Run on a camera until it is stopped: in a window, or into a video file."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detr_d2.demo.run import DEFAULT_RATE, Runner
from detr_d2.visualization.video import VIDEOS, Source

ESCAPE = 27


def run_camera(runner: Runner, number: int, output: str | None, width: int | None) -> None:
    """Run on a camera until Ctrl-C, or Escape or q in the window.

    Args:
        runner: its outputs get the frames too.
        number: of the camera, as OpenCV counts.
        output: the video to write, or a folder for it; None shows a window.
        width: of the pictures in pixels; None keeps the camera's.

    Raises:
        ValueError: no such camera, no window possible, or `output` is a file of another kind.
    """
    target = None if output is None else _target(output, number)
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise ValueError(f"camera {number} cannot be opened")
    source = Source(Path(f"camera{number}"), f"camera{number}")
    stopped: list[int] = []
    before = signal.signal(signal.SIGINT, lambda signum, _: stopped.append(signum))
    try:
        frames = _until(stopped, runner.frames(capture, source))
        if target is None:
            _show(runner, frames, source.stem, width)
        else:
            rate = capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE
            runner.write_pictures(frames, target, width, rate)
    finally:
        signal.signal(signal.SIGINT, before)
        capture.release()


def _target(output: str, number: int) -> Path:
    if os.path.splitext(output)[1].lower() in VIDEOS:
        return Path(output)
    if os.path.isfile(output) or os.path.splitext(output)[1]:
        raise ValueError(f"{output}: a camera gives a video, such as camera.mp4")
    return Path(output, f"camera{number}.mp4")


def _until(stopped: list[int], frames: Iterator[Any]) -> Iterator[Any]:
    for frame in frames:
        yield frame
        if stopped:
            return


def _show(
    runner: Runner,
    frames: Iterator[tuple[np.ndarray, dict[str, Any]]],
    title: str,
    width: int | None,
) -> None:
    for image, output in frames:
        picture = runner.render(image, output, width)
        try:
            cv2.imshow(title, np.ascontiguousarray(picture[..., ::-1]))
            key = cv2.waitKey(1) & 0xFF
        except cv2.error:
            raise ValueError(
                "no window can be opened (no screen, or OpenCV is built without windows); give "
                "--output camera.mp4"
            ) from None
        if key in (ESCAPE, ord("q")):
            return
