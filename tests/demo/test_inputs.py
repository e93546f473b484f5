"""What is fetched, without a network, and what the outputs make of the arguments."""

import argparse
import http.client
import io
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from empty_finder import TABLE, Finder
from tiny_model import tiny_cfg

from detr_d2.demo import inputs
from detr_d2.demo.build import choose_instances, make_outputs, make_writers
from detr_d2.demo.camera import run_camera
from detr_d2.demo.inputs import fetch
from detr_d2.demo.options import argument_parser, check_arguments
from detr_d2.demo.outputs import Annotations, picture_targets
from detr_d2.demo.rank import LOWEST_SCORE
from detr_d2.demo.run import Runner
from detr_d2.visualization.video import Source


@pytest.fixture
def answer(monkeypatch):
    """Let any URL give these bytes, read a few at a time."""
    monkeypatch.setattr(inputs, "CHUNK", 4)

    def _answer(content):
        monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(content))

    return _answer


def test_a_file_is_fetched_under_the_name_that_people_know(answer, tmp_path):
    answer(b"0123456789")
    path = fetch("https://example.org/a/site%20west.JPG?size=large#top", tmp_path)
    assert path == str(tmp_path / "site west.JPG")
    assert Path(path).read_bytes() == b"0123456789"


def test_a_file_that_is_too_large_is_not_fetched_to_its_end(answer, tmp_path, monkeypatch):
    answer(b"x" * 8)
    monkeypatch.setattr(inputs, "LARGEST_DOWNLOAD", 8)
    fetch("https://example.org/a.jpg", tmp_path)
    answer(b"x" * 9)
    with pytest.raises(ValueError, match=r"https://example\.org/a\.jpg: larger than 0 MiB"):
        fetch("https://example.org/a.jpg", tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (urllib.error.URLError("no route"), "no route"),
        (http.client.IncompleteRead(b"1234", 9), "IncompleteRead"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_why_a_file_cannot_be_fetched_is_said(tmp_path, monkeypatch, error, message):
    def urlopen(url, timeout):
        assert 5 <= timeout <= 60
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    line = (
        rf"^http://a\.org/a\.WEBP: cannot be fetched \({message}.*\); download it, give its path$"
    )
    with pytest.raises(ValueError, match=line):
        fetch("http://a.org/a.WEBP", tmp_path)


def test_urls_are_fetched_and_files_are_not(answer, tmp_path, monkeypatch):
    answer(b"01234")
    (tmp_path / "httpd.jpg").touch()
    monkeypatch.chdir(tmp_path)
    urls = ["http://example.org/b.png", "httpd.jpg", "https://example.org/a.jpg"]
    (tmp_path / "fetched").mkdir()
    found = inputs.collect_inputs(urls, tmp_path / "fetched")
    assert [str(source.path) for source in found] == [
        str(tmp_path / "fetched/b.png"),
        "httpd.jpg",
        str(tmp_path / "fetched/a.jpg"),
    ]


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.7])
def test_a_ranking_needs_the_instances_above_a_tenth_at_least(threshold):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.INSTANCE_ON, cfg.MODEL.DETR.INSTANCE_SCORE_THRESH = False, threshold
    choose_instances(cfg, rank=True)
    assert cfg.MODEL.DETR.INSTANCE_ON
    assert min(threshold, LOWEST_SCORE) == cfg.MODEL.DETR.INSTANCE_SCORE_THRESH


@pytest.mark.parametrize(
    ("architecture", "panoptic", "expected"),
    [("PanopticDetr", True, False), ("PanopticDetr", False, True), ("Detr", True, True)],
)
def test_without_a_ranking_instances_are_made_where_there_is_no_map(
    architecture, panoptic, expected
):
    cfg = tiny_cfg()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.MODEL.DETR.PANOPTIC_ON, cfg.MODEL.DETR.INSTANCE_ON = panoptic, True
    choose_instances(cfg, rank=False)
    assert expected == cfg.MODEL.DETR.INSTANCE_ON


def arguments(**given):
    default = dict.fromkeys(("output", "webcam", "width", "coco_panoptic", "ids_from", "rank"))
    return argparse.Namespace(**{**default, "input": [], "export": [], "resume": False, **given})


def test_outputs_get_the_width_and_the_thresholds_of_the_config(tmp_path):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.SCORE_THRESH, cfg.MODEL.DETR.DUPLICATE_IOU = 0.37, 0.61
    given = arguments(output=str(tmp_path / "o"), rank=str(tmp_path / "rank"), width=77)
    pictures, (first, rank) = make_outputs(given, [Source(tmp_path / "a.png", "a")], TABLE, [], cfg)
    assert first is pictures and rank.pictures is pictures
    assert pictures.width == 77 and pictures.palette.names == ["crane"]
    assert (rank.threshold, rank.duplicate_iou) == (0.37, 0.61)


@pytest.mark.parametrize("option", ["export", "rank"])
def test_what_names_files_takes_none_that_were_fetched(tmp_path, option):
    value = [["coco", str(tmp_path / "x")]] if option == "export" else str(tmp_path / "x")
    given = arguments(input=["a.png", "https://example.org/b.png"], **{option: value})
    with pytest.raises(ValueError, match="name the images' files: download them first"):
        make_outputs(given, [Source(tmp_path / "a.png", "a")], TABLE, [], tiny_cfg())
    assert not (tmp_path / "x").exists()


def test_ids_of_a_set_and_exports_are_for_images(tmp_path):
    (tmp_path / "ids.json").write_text('{"images": []}')
    video = [Source(tmp_path / "v.mp4", "v")]
    for option, given in (
        ("--ids-from", {"coco_panoptic": str(tmp_path), "ids_from": str(tmp_path / "ids.json")}),
        ("--rank", {"rank": str(tmp_path / "x")}),
        ("--export", {"rank": str(tmp_path / "x"), "export": [["coco", "y"]]}),
    ):
        with pytest.raises(ValueError, match=rf"^{option} needs images, .*v\.mp4 is a video"):
            make_outputs(arguments(**given), video, TABLE, [], tiny_cfg())


def test_no_id_png_takes_the_place_of_an_input(tmp_path):
    given = arguments(coco_panoptic=str(tmp_path))
    png = tmp_path / "panoptic/deep/a.png"
    for source in (Source(tmp_path / "panoptic/a.png", "a"), Source(png, "deep/a")):
        with pytest.raises(ValueError, match=r"a\.png is an input and would be overwritten"):
            make_outputs(given, [Source(tmp_path / "b.png", "b"), source], TABLE, [], tiny_cfg())
    make_outputs(given, [Source(png, "a")], TABLE, [], tiny_cfg())


def test_a_file_is_the_output_of_one_input_of_its_kind(tmp_path):
    image, video = Source(tmp_path / "a.tif", "a"), Source(tmp_path / "v.avi", "v")
    assert picture_targets([image], "x.PNG") == {"a": Path("x.PNG")}
    with pytest.raises(ValueError, match=r"x\.mkv: .*a\.tif gives a picture"):
        picture_targets([image], "x.mkv")
    with pytest.raises(ValueError, match=r"x\.mp4 is one file for 2 inputs; give a folder"):
        picture_targets([video, image], "x.mp4")
    # A folder may have any name.
    (tmp_path / "o.jpg").mkdir()
    assert picture_targets([image], str(tmp_path / "o.jpg")) == {"a": tmp_path / "o.jpg/a.jpg"}


@pytest.mark.parametrize("resume", [False, True])
def test_all_outputs_go_on_with_what_is_there_only_if_asked(tmp_path, resume):
    source, image = Source(tmp_path / "i/a.png", "deep/a"), np.zeros((4, 6, 3), np.uint8)
    given = arguments(
        coco_panoptic=str(tmp_path / "coco"),
        rank=str(tmp_path / "rank"),
        export=[["coco", str(tmp_path / "x")], ["labelme", str(tmp_path / "y")]],
    )

    def outputs():
        return make_outputs(given, [source], TABLE, make_writers(given, TABLE), tiny_cfg())[1]

    for output in outputs():
        assert not output.has(source)
        output.add(source, image, Finder()([image])[0])
        if not isinstance(output, Annotations):
            output.finish()
    if not resume:
        (tmp_path / "y/deep/a.json").unlink()
    given.resume = resume
    assert [output.has(source) for output in outputs()] == [resume] * 4


def test_an_exported_image_is_named_from_its_file(tmp_path):
    given = arguments(export=[["labelme", str(tmp_path / "x")], ["coco", str(tmp_path / "y")]])
    source = Source(tmp_path / "i/deep/a.png", "deep/a")
    for output in make_outputs(given, [source], TABLE, make_writers(given, TABLE), tiny_cfg())[1]:
        image = np.zeros((4, 6, 3), np.uint8)
        output.add(source, image, Finder()([image])[0])
        output.finish()
    content = json.loads((tmp_path / "x/deep/a.json").read_text())
    assert content["imagePath"] == "../../i/deep/a.png"
    content = json.loads((tmp_path / "y/annotations.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["deep/a.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--input a --output o --batch 0", "--batch 0, --width None: must be from 1"),
        ("--input a --output o --width 0", "--batch 1, --width 0: must be from 1"),
        ("--input a --output o --confidence-threshold -0.01", "-0.01: must be in 0..1"),
        ("--input a --output o --confidence-threshold 1.01", "1.01: must be in 0..1"),
        ("--webcam --coco-panoptic o", "--webcam goes to a window or to --output"),
        ("--webcam --export coco o", "--webcam goes to a window or to --output"),
        ("--webcam --rank o", "--webcam goes to a window or to --output"),
        ("--webcam --video-input v.mp4", "either --input .* or --webcam"),
        ("--video-input v.mp4", "give --output, --coco-panoptic"),
        ("--input a --export coco x --export xml y", "--export xml: allowed are labelme, coco"),
    ],
)
def test_options_that_ask_for_nothing_or_contradict(words, message):
    args = argument_parser().parse_args(["--config-file", "c", *words.split()])
    with pytest.raises(ValueError, match=message):
        check_arguments(args)


@pytest.mark.parametrize(
    "words",
    [
        "--input a --output o --confidence-threshold 0 --batch 1 --width 1",
        "--input a --coco-panoptic o --confidence-threshold 1",
        "--input a --export cvat o",
        "--input a --rank o",
        "--webcam",
        "--webcam 3 --output o",
    ],
)
def test_one_output_is_enough(words):
    args = argument_parser().parse_args(["--config-file", "c", *words.split()])
    check_arguments(args)
    assert args.batch == 1 and not args.resume and not args.quiet
    assert args.webcam == {"--webcam": 0, "--webcam 3 --output o": 3}.get(words)


def test_videos_come_after_the_other_inputs():
    words = ["--input", "a", "b", "--video-input", "v.mp4", "--rank", "o"]
    args = argument_parser().parse_args(["--config-file", "c", *words])
    check_arguments(args)
    assert args.input == ["a", "b", "v.mp4"]


def test_pictures_of_a_folder_are_jpegs_and_of_videos_mp4s(tmp_path):
    sources = [Source(tmp_path / "a.tif", "deep/a"), Source(tmp_path / "v.AVI", "v")]
    assert picture_targets(sources, str(tmp_path / "o")) == {
        "deep/a": tmp_path / "o/deep/a.jpg",
        "v": tmp_path / "o/v.mp4",
    }
    assert picture_targets(sources[1:], "x.mp4") == {"v": Path("x.mp4")}
    with pytest.raises(ValueError, match=r"x\.png: .*v\.AVI gives a video \(\.mp4\)"):
        picture_targets(sources[1:], "x.png")
    (tmp_path / "notes").touch()
    with pytest.raises(ValueError, match="notes is a file, but neither a picture nor a video"):
        picture_targets(sources, str(tmp_path / "notes"))


@pytest.fixture
def camera(tmp_path, monkeypatch):
    """Camera 3 gives four frames of 48 x 32, 7 a second."""
    path, real = str(tmp_path / "v.mp4"), cv2.VideoCapture
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 7, (48, 32))
    for number in range(4):
        writer.write(np.full((32, 48, 3), 60 * number, np.uint8))
    writer.release()
    monkeypatch.setattr(cv2, "VideoCapture", lambda n: real(path if n == 3 else n))
    return real


def test_a_camera_has_its_number_speed_and_width_in_the_video(camera, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    run_camera(Runner(Finder(), [], quiet=True), 3, str(tmp_path / "out"), 96)
    assert signal.getsignal(signal.SIGINT) is before
    capture = camera(str(tmp_path / "out/camera3.mp4"))
    facts = (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH)
    assert [round(capture.get(fact)) for fact in facts] == [7, 4, 96]


def test_a_camera_stops_at_ctrl_c_and_the_video_is_whole(camera, tmp_path, monkeypatch):
    runner = Runner(Finder(), [], quiet=True)
    render, rendered = runner.render, []

    def interrupted(*found):
        rendered.append(found)
        if len(rendered) == 2:
            signal.raise_signal(signal.SIGINT)
        return render(*found)

    monkeypatch.setattr(runner, "render", interrupted)
    run_camera(runner, 3, str(tmp_path / "c.mp4"), None)
    assert camera(str(tmp_path / "c.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("name", ["c.jpg", "c.txt"])
def test_a_camera_gives_no_picture(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name}: a camera gives a video, such as camera\.mp4"):
        run_camera(Runner(Finder(), []), 3, str(tmp_path / name), None)


def test_a_video_that_is_none_is_named_and_keeps_its_speed_else(camera, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    runner = Runner(Finder(), [], quiet=True)
    bad, good = (Source(tmp_path / f"{name}.mp4", name) for name in ("bad", "v"))
    fault = f"{tmp_path / 'bad.mp4'}: not a video that OpenCV can read"
    assert runner.run_video(bad, tmp_path / "out.mp4", None) == [fault]
    assert not (tmp_path / "out.mp4").exists()
    assert runner.run_video(good, tmp_path / "out.mp4", 24) == []
    capture = camera(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(7)
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 24


def test_what_is_finished_is_told_by_all_outputs_and_of_a_video_by_its_pictures(tmp_path):
    video, image = Source(tmp_path / "v.mp4", "v"), Source(tmp_path / "a.png", "a")
    pictures, (_, rank) = make_outputs(
        arguments(output=str(tmp_path / "o"), rank=str(tmp_path / "rank")),
        [image],
        TABLE,
        [],
        tiny_cfg(),
    )
    pictures.targets["v"] = tmp_path / "o/v.mp4"
    both, alone = Runner(Finder(), [pictures, rank]), Runner(Finder(), [rank])
    assert not both.has(image) and not both.has(video)
    (tmp_path / "o").mkdir()
    (tmp_path / "o/a.jpg").touch()
    (tmp_path / "o/v.mp4").touch()
    assert both.has(video) and not both.has(image), "it is not ranked"
    rank.journal.write({"stem": "a"})
    assert both.has(image) and alone.has(image)
    assert not alone.has(video), "nothing tells"
