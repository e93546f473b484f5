"""tools/demo.py as users of Detectron2 know it, and what it says where it cannot."""

import os
import shutil
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from detr_d2.annotation_export import WRITERS
from detr_d2.engine import Predictor
from detr_d2.visualization import read_image


def pictures_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*"))


def test_a_bad_image_never_stops_the_others(demo, images, tmp_path, capsys):
    Image.new("RGB", (30000, 2)).save(images / "b2_thin.png")
    Image.new("1", (14000, 12000)).save(images / "b3_bomb.png")
    (images / "b4_text.png").write_text("no image")
    assert demo("--input", images, "--output", tmp_path / "out", "--batch", "2") == 1
    assert pictures_below(tmp_path / "out") == ["a.jpg", "b.jpg", "deep/c.jpg"]
    shown = capsys.readouterr()
    assert "3 done" in shown.out
    faults = [line for line in shown.err.splitlines() if line.startswith("not done: ")]
    assert len(faults) == 3
    assert any("b2_thin.png: an image of 30000x2 pixels" in line for line in faults)
    assert any("b3_bomb.png: 14000x12000 pixels, more than 89 million" in line for line in faults)
    assert any("b4_text.png" in line for line in faults)


@pytest.mark.parametrize(
    "option",
    [("--output",), ("--coco-panoptic",), ("--export", "labelme"), ("--export", "yolo")],
    ids=lambda option: option[-1],
)
def test_a_folder_that_vanishes_is_said(demo, images, tmp_path, capsys, monkeypatch, option):
    out, run = tmp_path / "out", Predictor.__call__

    def vanish(self, batch):
        if any(image.shape[:2] == (60, 44) for image in batch):
            shutil.rmtree(out)
        return run(self, batch)

    with monkeypatch.context() as during:
        during.setattr(Predictor, "__call__", vanish)
        assert demo("--input", images, *option, out) == 1
    shown = capsys.readouterr()
    assert "2 done" in shown.out
    assert "a.png: what was written of it has been removed meanwhile; --resume" in shown.err
    assert demo("--input", images, *option, out, "--resume") == 0
    assert "1 done, 2 were finished before" in capsys.readouterr().out


def test_an_image_at_fault_is_told_once_whatever_its_name(demo, images, tmp_path, capsys):
    (images / "site: north.jpg").write_text("no image")
    assert demo("--input", images, "--output", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert shown.err.count("not done: ") == 1 and "3 done" in shown.out


def test_a_file_is_the_output_of_one_input(demo, images, tmp_path, capsys):
    assert demo("--input", images / "a.png", "--output", tmp_path / "one.png") == 0
    assert read_image(str(tmp_path / "one.png")).shape == (48, 70, 3)
    assert demo("--input", images, "--output", tmp_path / "all.jpg") == 2
    assert "all.jpg is one file for 3 inputs" in capsys.readouterr().err
    assert demo("--input", images / "a.png", "--output", tmp_path / "one.mp4") == 2
    assert "gives a picture" in capsys.readouterr().err


def test_an_output_that_is_an_input_is_rejected(demo, images, capsys):
    (images / "a.png").rename(images / "a.jpg")
    before = (images / "a.jpg").read_bytes()
    assert demo("--input", images, "--output", images) == 2
    assert "a.jpg is an input and would be overwritten" in capsys.readouterr().err
    assert (images / "a.jpg").read_bytes() == before


def test_threshold_and_opts_change_the_config(demo, images, tmp_path):
    def segments(name, *words):
        assert demo("--input", images / "a.png", "--coco-panoptic", tmp_path / name, *words) == 0
        return (tmp_path / name / "panoptic.json").read_text().count('"category_id"')

    assert segments("all") > 0
    assert segments("none", "--confidence-threshold", "1.0") == 0
    assert segments("opts", "--opts", "MODEL.DETR.SCORE_THRESH", "1.0") == 0


def video(path, frames=3):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (48, 32))
    for number in range(frames):
        writer.write(np.full((32, 48, 3), 60 * number, np.uint8))
    writer.release()
    return path


def frames_of(path):
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)


def test_video_input_and_a_file_for_it(demo, tmp_path, capsys):
    path = video(tmp_path / "v.mp4")
    assert demo("--video-input", path, "--output", tmp_path / "found.mp4") == 0
    assert frames_of(tmp_path / "found.mp4") == 3
    assert demo("--video-input", path, "--export", "labelme", tmp_path / "x") == 2
    assert "save its frames as images first" in capsys.readouterr().err


def test_a_camera_goes_into_a_video_until_it_ends(demo, tmp_path, monkeypatch, capsys):
    path, real = str(video(tmp_path / "v.mp4", 4)), cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda n: real(path if n == 1 else n))
    assert demo("--webcam", "1", "--output", tmp_path / "found.mp4") == 0
    assert frames_of(tmp_path / "found.mp4") == 4

    def no_window(title, picture):
        raise cv2.error("not implemented")

    monkeypatch.setattr(cv2, "imshow", no_window)
    assert demo("--webcam", "1") == 2
    assert "no window can be opened" in capsys.readouterr().err
    monkeypatch.setattr(cv2, "VideoCapture", lambda n: real("/nonexistent"))
    assert demo("--webcam", "--output", tmp_path / "x.mp4") == 2
    assert "camera 0 cannot be opened" in capsys.readouterr().err


@pytest.fixture
def server(images):
    """Serve the images on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=images)) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_url_is_fetched(demo, server, tmp_path, capsys):
    assert demo("--input", f"{server}/deep/c.png?size=large", "--output", tmp_path / "out") == 0
    assert pictures_below(tmp_path / "out") == ["c.jpg"]
    capsys.readouterr()
    assert demo("--input", f"{server}/none.jpg", "--output", tmp_path / "out") == 2
    assert "none.jpg: cannot be fetched (" in capsys.readouterr().err
    assert demo("--input", f"{server}/page", "--output", tmp_path / "out") == 2
    assert "ends in none of" in capsys.readouterr().err


def test_without_network_a_url_is_refused_in_a_line(demo, tmp_path, monkeypatch, capsys):
    def offline(*args):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    assert demo("--input", "https://example.org/a.jpg", "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "a.jpg: cannot be fetched" in error
    assert "download it" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give either --input"),
        (("--input", "IMAGES", "--webcam"), "give either --input"),
        (("--input", "IMAGES"), "give --output, --coco-panoptic, --export or --rank"),
        (("--input", "IMAGES", "--output", "x", "--batch", "-1"), "--batch -1"),
        (("--input", "IMAGES", "--output", "x", "--ids-from", "j"), "is for --coco-panoptic"),
        (("--input", "IMAGES", "--export", "via", "x"), "--export via: allowed are labelme, coco"),
        (("--input", "nothing/*.jpg", "--output", "x"), "no image or video there"),
        (("--webcam", "--rank", "x"), "--webcam goes to a window"),
        (("--input", "IMAGES", "--output", "x", "--confidence-threshold", "9"), "in 0..1"),
        (("--input", "IMAGES", "--output", "x", "--opts", "SEED"), "pairs of KEY VALUE"),
    ],
)
def test_refusals_are_one_line(demo, images, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert demo(*[images if word == "IMAGES" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not Path("x").exists()


def test_a_missing_training_folder_is_one_line(demo, images, tmp_path, capsys):
    words = ("--input", images, "--output", tmp_path / "out")
    assert demo(*words, config=tmp_path / "nowhere") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no such file or folder" in error


@pytest.mark.parametrize("name", WRITERS)
def test_export_prints_the_command_for_the_way_back(demo, images, tmp_path, capsys, name):
    assert demo("--input", images, "--export", name, tmp_path / "x") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    writer = WRITERS[name].__name__
    assert "python tools/convert_masks.py " in line and line.endswith("--out DIR"), writer
    assert str(tmp_path / "x") in line


def test_names_that_are_not_utf_8(demo, images, tmp_path, capsys):
    """Of the folder, whose command for the way back is shown, and of an image."""
    folder = tmp_path / os.fsdecode(b"m\xfcll")
    images.rename(folder)
    assert demo("--input", folder, "--export", "labelme", tmp_path / "x") == 0
    assert capsys.readouterr().out.startswith("3 done")
    (folder / "a.png").rename(folder / os.fsdecode(b"gr\xfcn.png"))
    assert demo("--input", folder, "--export", "cvat", tmp_path / "cvat") == 2
    assert "gr\\udcfcn.png: CVAT's XML needs a name in UTF-8" in capsys.readouterr().err
    assert demo("--input", folder, "--rank", tmp_path / "rank") == 0
    assert len((tmp_path / "rank/rank.txt").read_bytes().splitlines()) == 3
