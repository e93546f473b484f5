"""Frames of a video: colours, sides and speed."""

import cv2
import numpy as np
import pytest

from detr_d2.visualization.video import Source, find_sources, read_frames, write_video

# RGB, and so far apart that no compression takes one for another.
RED, BLUE = (220, 20, 30), (20, 40, 210)


def frames(height, width, *colors):
    return (np.full((height, width, 3), color, np.uint8) for color in colors)


def test_colours_order_sides_and_speed_come_back(tmp_path):
    path = str(tmp_path / "v.mp4")
    # Players want even sides: the odd row and column go.
    write_video(path, frames(33, 65, RED, BLUE, BLUE), 8.0)
    capture = cv2.VideoCapture(path)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(8)
    first = read_frames(capture, 2)
    assert [frame.shape for frame in first] == [(32, 64, 3)] * 2
    for frame, color in zip([*first, *read_frames(capture, 2)], (RED, BLUE, BLUE), strict=True):
        assert frame.mean(axis=(0, 1)) == pytest.approx(color, abs=25)
    assert read_frames(capture, 2) == []


def test_a_video_without_a_frame_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"v\.mp4: the video has no frame"):
        write_video(str(tmp_path / "v.mp4"), iter(()), 25)


def test_a_video_is_told_by_its_extension_in_any_case(tmp_path):
    for name in ("b.MP4", "a.Jpg", "notes.txt"):
        (tmp_path / name).touch()
    found = find_sources([str(tmp_path)])
    assert [(s.name, s.is_video) for s in found] == [("a.Jpg", False), ("b.MP4", True)]
    assert Source(tmp_path / "deep/a.tar.png", "deep/a.tar").name == "deep/a.tar.png"
