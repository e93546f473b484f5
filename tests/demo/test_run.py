"""Images that fail, frames and their names, cameras with a window: with no model and no screen."""

import signal

import cv2
import numpy as np
import pytest
from empty_finder import Finder
from PIL import Image

from detr_d2.demo import run
from detr_d2.demo.camera import run_camera
from detr_d2.demo.outputs import Output, Pictures
from detr_d2.demo.run import Runner
from detr_d2.visualization import Palette
from detr_d2.visualization.video import Source


class Kept(Output):
    """Keeps the sources and sizes that it gets."""

    def __init__(self):
        self.got = []

    def has(self, source):
        return False

    def add(self, source, image, output):
        assert output["panoptic_seg"][0].shape == image.shape[:2]
        self.got.append((source.stem, source.name, image.shape[1]))


class Capture:
    """A camera or video of red frames that does not say its speed."""

    def __init__(self, count=3, is_open=True):
        self.left, self.is_open, self.released = count, is_open, False

    def isOpened(self):
        return self.is_open

    def get(self, fact):
        return {cv2.CAP_PROP_FRAME_COUNT: -1.0}.get(fact, 0.0)

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((32, 48, 3), (20, 20, 240), np.uint8)

    def release(self):
        self.released = True


@pytest.fixture
def capture(monkeypatch):
    made = Capture()
    monkeypatch.setattr(cv2, "VideoCapture", lambda name: made)
    return made


@pytest.fixture
def videos(monkeypatch):
    """The videos that are written: pictures a second, and the pictures."""
    found = []

    def write(path, pictures, rate):
        found.append((rate, list(pictures)))
        open(path, "w").close()

    monkeypatch.setattr(run, "write_video", write)
    return found


class Bar:
    """A progress bar that is never shown."""

    def __init__(self, total, disable, **more):
        self.total, self.disable, self.done = total, disable, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, count=1):
        self.done += count


@pytest.fixture
def bars(monkeypatch):
    made = []
    monkeypatch.setattr(run, "tqdm", lambda **given: made.append(Bar(**given)) or made[-1])
    return made


@pytest.fixture
def sources(tmp_path):
    """Five images 10 to 14 pixels wide."""
    for width in range(10, 15):
        Image.new("RGB", (width, 6)).save(tmp_path / f"{width}.png")
    return [Source(tmp_path / f"{width}.png", f"{width}") for width in range(10, 15)]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("disk\n is full"), "disk is full"),
        (ValueError("{path}: too thin"), "too thin"),
        (RuntimeError("out of memory " * 30), ("out of memory " * 30)[:300] + " ..."),
        (MemoryError(), "MemoryError"),
    ],
)
def test_of_a_batch_that_fails_only_the_image_at_fault_is_lost(sources, error, line):
    finder, kept = Finder(), Kept()

    def fragile(images):
        result = finder(images)
        if any(image.shape[1] == 13 for image in images):
            named = [str(a).replace("{path}", str(sources[3].path)) for a in error.args]
            raise type(error)(*named)
        return result

    fragile.categories = Finder.categories
    assert Runner(fragile, [kept], 3, quiet=True).run_images(sources) == [
        f"{sources[3].path}: {line}"
    ]
    assert finder.batches == [3, 2, 1, 1]
    assert kept.got == [(f"{w}", f"{w}.png", w) for w in (10, 11, 12, 14)]


def test_an_image_that_cannot_be_read_leaves_the_others_of_its_batch(sources):
    sources[1].path.write_text("no image")
    finder, kept = Finder(), Kept()
    (fault,) = Runner(finder, [kept], 2, quiet=True).run_images(sources)
    assert fault.startswith(f"{sources[1].path}: ") and "\n" not in fault
    assert finder.batches == [1, 2, 1] and len(kept.got) == 4


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_counts_images_with_their_faults(sources, bars, quiet, capture):
    sources[1].path.unlink()
    Runner(Finder(), [], 2, quiet).run_images(sources)
    Runner(Finder(), [], 2, quiet).run_images([])
    Runner(Finder(), [], 2, quiet).run_video(Source(sources[0].path, "v"), None, None)
    hidden = True if quiet else None
    assert [bar.disable for bar in bars] == [hidden, True, hidden]
    # A camera does not say how many frames there will be.
    assert [(bar.total, bar.done) for bar in bars] == [(5, 5), (0, 0), (None, 3)]


def test_frames_are_numbered_and_have_names_of_their_own(capture, tmp_path):
    finder, kept = Finder(), Kept()
    capture.left = 5
    video = Source(tmp_path / "v.avi", "deep/v")
    assert Runner(finder, [kept], 2, quiet=True).run_video(video, None, None) == []
    names = [f"deep/v/00000{number}" for number in range(5)]
    assert kept.got == [(name, f"{name}.jpg", 48) for name in names]
    assert finder.batches == [2, 2, 1] and capture.released


def test_frames_of_a_video_are_no_pictures(capture, videos, tmp_path):
    pictures = Pictures({"v": tmp_path / "v.mp4"}, Palette(["crane"]), None)
    runner = Runner(Finder(), [pictures], quiet=True)
    assert runner.run_video(Source(tmp_path / "v.avi", "v"), tmp_path / "v.mp4", 24) == []
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    ((rate, shown),) = videos
    assert rate == run.DEFAULT_RATE == 25 and [one.shape[1] for one in shown] == [24] * 3


def test_a_video_that_fails_is_named_closed_and_leaves_no_file(capture, tmp_path):
    def failing(images):
        raise RuntimeError("out of memory")

    failing.categories = Finder.categories
    video = Source(tmp_path / "v.avi", "v")
    faults = Runner(failing, [], quiet=True).run_video(video, tmp_path / "o/v.mp4", None)
    assert faults == [f"{video.path}: out of memory"]
    assert capture.released and not list(tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize("key", [27, ord("q"), 0x100000 | ord("q")])
def test_a_window_shows_the_camera_until_a_key(capture, monkeypatch, key):
    shown, keys = [], [-1, key, -1]
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append((title, picture)))
    monkeypatch.setattr(cv2, "waitKey", lambda milliseconds: keys.pop(0))
    before = signal.getsignal(signal.SIGINT)
    run_camera(Runner(Finder(), [], quiet=True), 3, None, 96)
    assert [title for title, _ in shown] == ["camera3"] * 2
    assert shown[0][1].shape == (64, 96, 3)
    # OpenCV takes blue, green, red.
    assert shown[0][1][5, 5, 2] > shown[0][1][5, 5, 0] + 20
    assert capture.released and signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("output", "name"), [("cameras", "cameras/camera3.mp4"), ("yard.MKV", "yard.MKV")]
)
def test_a_camera_that_does_not_say_its_speed(capture, videos, tmp_path, output, name):
    run_camera(Runner(Finder(), [], quiet=True), 3, str(tmp_path / output), None)
    assert [(rate, len(shown)) for rate, shown in videos] == [(25, 3)]
    assert (tmp_path / name).is_file() and capture.released


def test_a_camera_gives_no_file_that_is_there_without_an_extension(capture, tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(ValueError, match=r"notes: a camera gives a video"):
        run_camera(Runner(Finder(), []), 3, str(tmp_path / "notes"), None)
    capture.is_open = False
    with pytest.raises(ValueError, match="camera 3 cannot be opened"):
        run_camera(Runner(Finder(), []), 3, None, None)
