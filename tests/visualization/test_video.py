"""Frames of a video: colours, sides and speed."""

import glob

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
    # As torch and OpenCV want them.
    assert all(frame.flags.c_contiguous for frame in first)
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


def test_sources_are_in_order_of_names_and_of_the_inputs(tmp_path, monkeypatch):
    for name in ("b/1.tif", "b/10.TIFF", "b/2.webm", "b/deep/0.mkv", "a.webp", "c.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = ["1", "10", "2", "deep/0"]
    assert [s.stem for s in find_sources([str(tmp_path / "b")])] == folder
    names = ["c", "a", *folder]
    found = find_sources([str(tmp_path / name) for name in ("c.bmp", "a.webp", "b")])
    assert [source.stem for source in found] == names
    # What a pattern matches is listed in no order; a folder among it gives what is in it.
    monkeypatch.setattr(glob, "glob", lambda text: [str(tmp_path / n) for n in ("c.bmp", "b")])
    assert [source.stem for source in find_sources(["*"])] == [*folder, "c"]


def test_a_file_with_a_star_in_its_name_is_no_pattern(tmp_path):
    for name in ("a[1].jpg", "a1.jpg"):
        (tmp_path / name).touch()
    assert [s.name for s in find_sources([str(tmp_path / "a[1].jpg")])] == ["a[1].jpg"]


def test_two_files_of_one_output_are_both_named(tmp_path):
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"/a\.png and .*/a\.jpg would have the same output"):
        find_sources([str(tmp_path)])
    with pytest.raises(ValueError, match=r"none/\*: no image or video there; looked for \.avi"):
        find_sources(["none/*"])


class Writer:
    """A cv2.VideoWriter that knows one codec and keeps its pictures."""

    known, made = "mp4v", []
    fourcc = staticmethod(lambda *letters: "".join(letters))

    def __init__(self, path, codec, rate, size):
        self.codec, self.size, self.pictures, self.released = codec, size, [], False
        self.made.append(self)

    def isOpened(self):
        return self.codec == self.known

    def write(self, picture):
        self.pictures.append(picture)

    def release(self):
        self.released = True


class Capture:
    """A cv2.VideoCapture of what the last Writer has written."""

    def __init__(self, path):
        self.count = len(Writer.made[-1].pictures)

    def isOpened(self):
        return True

    def get(self, what):
        return self.count if what == cv2.CAP_PROP_FRAME_COUNT else 0

    def release(self):
        pass


@pytest.fixture
def writers(monkeypatch):
    monkeypatch.setattr(Writer, "made", [])
    monkeypatch.setattr(Writer, "known", "mp4v")
    monkeypatch.setattr(cv2, "VideoWriter", Writer)
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return Writer


def test_the_first_codec_that_is_there_is_taken_and_nothing_is_said(writers, tmp_path):
    cv2.setLogLevel(level := 3)
    for known, tried in (("mp4v", ["avc1", "mp4v"]), ("avc1", ["avc1"])):
        writers.known, writers.made = known, []
        write_video(str(tmp_path / "v.mp4"), frames(33, 65, RED, BLUE), 8.0)
        assert [writer.codec for writer in writers.made] == tried
        last = writers.made[-1]
        assert last.size == (64, 32) and len(last.pictures) == 2 and last.released
        assert last.pictures[0][0, 0].tolist() == list(RED)[::-1]
    assert cv2.getLogLevel() == level
    writers.known = "none"
    with pytest.raises(ValueError, match=r"v\.mp4: OpenCV can write no MP4 of 64x32 pixels"):
        write_video(str(tmp_path / "v.mp4"), frames(33, 65, RED), 8.0)
    assert cv2.getLogLevel() == level


def test_a_video_is_closed_where_a_picture_fails(writers, tmp_path):
    def failing():
        yield from frames(4, 6, RED)
        raise MemoryError

    with pytest.raises(MemoryError):
        write_video(str(tmp_path / "v.mp4"), failing(), 8.0)
    assert writers.made[-1].released and len(writers.made[-1].pictures) == 1
