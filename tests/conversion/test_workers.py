"""One image at a time: what is noted of it, and worker processes that fail."""

import io
import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest
from converted_sets import save_image
from PIL import Image

from detr_d2.conversion import workers
from detr_d2.conversion.formats.base import AnnotationFormat, Sample
from detr_d2.conversion.image_annotation import VOID, ImageAnnotation, Region
from detr_d2.conversion.rasterize import Rules, TargetClass
from detr_d2.conversion.workers import (
    CALLS_PER_WORKER,
    IMAGES_PER_CALL,
    ImageConverter,
    ImageTask,
    convert_images,
)
from detr_d2.data.image_io import UnreadableError, inspect_image
from detr_d2.ops.panoptic_ids import read_ids

SIZE = (6, 7)
CLASSES = (TargetClass("sky", False, 7), TargetClass("nut", True, 3))


@dataclass
class Drawn(AnnotationFormat):
    """Sky above, a crowd of nuts below, a void column; what an image's name asks for besides."""

    def find_samples(self):
        return []

    def read(self, sample, info):
        if "bad" in sample.name:
            raise UnreadableError(f"{sample.name}: bad")
        if "killer" in sample.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "full" in sample.name:
            raise OSError(28, "No space left on device", sample.name)
        annotation = ImageAnnotation(info.size)
        height, width = info.size
        for key, rows in (("sky", slice(0, 2)), ("nut", slice(4, height))):
            mask = np.zeros(info.size, bool)
            mask[rows] = True
            annotation.add_region(mask, key, crowd=key == "nut")
        annotation.regions.append(Region(VOID, np.ones((height, 1), bool), (0, width - 1)))
        nothing = np.zeros(info.size, bool)
        for key in ("sky", "nut", "nut"):
            annotation.add_region(nothing, key)
        annotation.bad = ["shape 3 is a star"]
        return annotation

    def image_bytes(self, sample):
        if "none" in sample.name:
            return b"no image"
        stream = io.BytesIO()
        Image.new("RGB", SIZE[::-1]).save(stream, "PNG")
        return stream.getvalue()


def converter(folder=None, images="link", background_id=None):
    folder = None if folder is None else str(folder)
    return ImageConverter(Drawn(), CLASSES, Rules(), background_id, folder, images)


def task(name, image=None, number=5, file_name=None):
    sample = Sample(name, None if image is None else str(image), None)
    return ImageTask(sample, number, file_name or name)


@pytest.mark.parametrize("images", ["link", "copy"])
def test_what_is_written_and_noted_of_an_image(tmp_path, images):
    path = tmp_path / "a.b.jpg"
    save_image(path, SIZE)
    one = task("x/a.b.jpg", path, file_name="x__a.b.jpg")
    result = converter(tmp_path / "out", images).convert(one)
    sky = {"id": 1, "category_id": 7, "iscrowd": 0, "area": 12, "bbox": [0, 0, 6, 2]}
    nuts = {"id": 2, "category_id": 3, "iscrowd": 1, "area": 12, "bbox": [0, 4, 6, 2]}
    assert result == {
        "sample": "x/a.b.jpg",
        "image": {"id": 5, "file_name": "x__a.b.jpg", "height": 6, "width": 7},
        "annotation": {
            "image_id": 5,
            "file_name": "x__a.b.png",
            "segments_info": [sky, nuts],
        },
        # 18 of 42 pixels.
        "void": 0.428571,
        "hash": inspect_image(path).perceptual_hash,
        "lost": [["without pixels", 3, 2], ["without pixels", 7, 1]],
        "bad": ["shape 3 is a star"],
    }
    ids = read_ids(tmp_path / "out/panoptic/x__a.b.png")
    assert ids.shape == SIZE and ids[:, 0].tolist() == [1, 1, 0, 0, 2, 2]
    written = tmp_path / "out/images/x__a.b.jpg"
    assert written.read_bytes() == path.read_bytes()
    assert os.path.samefile(written, path) == (images == "link")
    assert converter().convert(one) == result


def test_unlabelled_pixels_become_the_background(tmp_path):
    save_image(tmp_path / "a.jpg", SIZE)
    one = task("a.jpg", tmp_path / "a.jpg")
    filled = converter(background_id=9).convert(one)
    areas = {s["category_id"]: s["area"] for s in filled["annotation"]["segments_info"]}
    # The void column stays.
    assert areas == {7: 12, 3: 12, 9: 12} and filled["void"] == 0.142857


def test_an_image_in_the_annotation_is_written_and_named_in_messages(tmp_path):
    result = converter(tmp_path).convert(task("a.png"))
    assert result["image"] == {"id": 5, "file_name": "a.png", "height": 6, "width": 7}
    with Image.open(tmp_path / "images/a.png") as image:
        assert image.size == SIZE[::-1]
    reason = converter(tmp_path).convert(task("none.png"))["reason"]
    assert reason.startswith("the image embedded for none.png: not readable as an image")
    assert os.listdir(tmp_path / "images") == ["a.png"]


def test_a_bad_image_is_a_reason_and_leaves_nothing(tmp_path):
    save_image(tmp_path / "a.jpg", SIZE)
    found = converter(tmp_path / "out").convert(task("bad.jpg", tmp_path / "a.jpg"))
    assert found == {"sample": "bad.jpg", "reason": "bad.jpg: bad"}
    assert os.listdir(tmp_path) == ["a.jpg"]


def many(tmp_path, *special):
    """A task for every name and for some more, so that two workers have several calls each."""
    save_image(tmp_path / "a.jpg", SIZE)
    names = [*special, *(f"{i}.jpg" for i in range(3 * IMAGES_PER_CALL * CALLS_PER_WORKER + 1))]
    return [task(name, tmp_path / "a.jpg", number) for number, name in enumerate(names)]


def test_every_image_is_converted_once(tmp_path):
    tasks = many(tmp_path)
    found = list(convert_images(converter(), tasks, 2))
    assert sorted(r["image"]["id"] for r in found) == list(range(len(tasks)))
    assert all(len(result["annotation"]["segments_info"]) == 2 for result in found)


def no_pool(*_, **__):
    raise AssertionError("a pool of processes")


@pytest.mark.parametrize(("count", "processes"), [(IMAGES_PER_CALL, 8), (40, 1), (40, 0), (0, 2)])
def test_few_images_and_one_worker_need_no_processes(tmp_path, monkeypatch, count, processes):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", no_pool)
    tasks = many(tmp_path)[:count]
    found = list(convert_images(converter(), tasks, processes))
    assert [r["image"]["id"] for r in found] == list(range(len(tasks)))


def test_more_images_than_one_call_has_need_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", no_pool)
    with pytest.raises(AssertionError, match="a pool"):
        list(convert_images(converter(), many(tmp_path)[: IMAGES_PER_CALL + 1], 2))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_worker_is_told_with_a_way_out(tmp_path):
    with pytest.raises(OSError, match=r"worker process was killed .*again with fewer workers"):
        list(convert_images(converter(), many(tmp_path, "killer.jpg"), 2))


def test_an_error_of_writing_comes_out_of_the_workers(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: 'full.jpg'"):
        list(convert_images(converter(), many(tmp_path, "full.jpg"), 2))
