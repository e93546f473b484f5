"""Full disks and vanished folders: one line that names the file, and what was there stays whole."""

import functools
import json
import os
import runpy
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from class_maps import convert_class_maps, write_class_maps
from kills import run_on_full_disk
from PIL import Image
from synthetic_crates import colour_cfg, files_of, write_crates
from tiny_run import write_tiny_run

from detr_d2.checkpoint import open_weights
from detr_d2.checkpoint.writing import write_original
from detr_d2.pseudo_labels import label_stuff
from detr_d2.utils.files import Journal, replacing
from detr_d2.utils.partial_folder import PartialFolder
from detr_d2.visualization import save_picture
from detr_d2.visualization.video import write_video

TOOLS = Path(__file__).parents[2] / "tools"

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_labelling_on_a_full_disk_goes_on_later(register, tmp_path):
    (tmp_path / "set").mkdir()
    name = register(**write_crates(tmp_path / "set"))
    cfg = colour_cfg(tmp_path)
    label_stuff(cfg, [name], tmp_path / "whole")
    work = functools.partial(label_stuff, cfg, [name], tmp_path / "out")
    message = run_on_full_disk(work, 1000)
    assert message.startswith("OSError") and "File too large" in message
    assert not (tmp_path / "out").exists()
    work()
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_the_file_for_which_there_is_no_room_is_named(tmp_path):
    """/dev/full takes nothing, as a full disk does."""
    full = open("/dev/full", "wb")  # noqa: SIM115  closed by the journal
    for name in ("panoptic.json", "picture.png"):
        named = rf"No space left on device: '.*{name}'"
        with pytest.raises(OSError, match=named), replacing(tmp_path / name):
            os.write(full.fileno(), b"x")
    # Not opened by itself: it would read the device to its end, which has none.
    journal = Journal.__new__(Journal)
    journal.path, journal._file = tmp_path / "done.jsonl", full
    for work in (functools.partial(journal.write, {}), journal.close):
        with pytest.raises(OSError, match=r"No space left on device: '.*done\.jsonl'"):
            work()
    assert list(tmp_path.iterdir()) == []


def test_so_is_the_first_file_of_a_working_folder(tmp_path):
    folder = PartialFolder(tmp_path / "out", "labelling.json")
    message = run_on_full_disk(functools.partial(folder.prepare, "of this run"), 5)
    assert f"File too large: '{tmp_path / '.out.partial/new/fingerprint'}'" in message
    assert not (tmp_path / "out").exists()


def test_a_picture_on_a_full_disk_is_no_half_picture(tmp_path, monkeypatch):
    """Pillow writes JPEGs without looking at how much was written."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
    for name in ("a.jpg", "b.png"):
        message = run_on_full_disk(functools.partial(save_picture, tmp_path / name, noise), 10000)
        assert message.startswith("OSError") and f"File too large: '{tmp_path / name}'" in message
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    runner = runpy.run_path(str(TOOLS / "run_onnx.py"))
    work = functools.partial(runner["save"], Image.fromarray(noise), tmp_path / "c.jpg")
    assert f"File too large: '{tmp_path / 'c.jpg'}'" in run_on_full_disk(work, 10000)
    assert list(tmp_path.iterdir()) == []


def test_a_video_on_a_full_disk_is_no_half_video(tmp_path):
    """OpenCV does not say that it could not write."""
    noise = list(np.random.default_rng(0).integers(0, 256, (20, 64, 96, 3), np.uint8))

    def write() -> None:
        with replacing(tmp_path / "a.mp4") as temporary:
            write_video(temporary, iter(noise), 10.0)

    message = run_on_full_disk(write, 30000)
    assert message == "OSError: 0 of 20 pictures are in the video; is the disk full?"
    assert list(tmp_path.iterdir()) == []
    write()
    assert (tmp_path / "a.mp4").stat().st_size > 30000


def test_an_export_on_a_full_disk_leaves_nothing(tmp_path):
    write_tiny_run(tmp_path)
    weights = open_weights(str(tmp_path / "model_final.pth"))
    work = functools.partial(write_original, str(tmp_path / "work/a.pth"), weights)
    message = run_on_full_disk(work, 5000)
    assert message.startswith("OSError") and "a.pth is not written" in message
    assert list((tmp_path / "work").iterdir()) == []


def test_a_working_folder_that_vanishes_ends_the_conversion(tmp_path):
    write_class_maps(tmp_path, 8)
    out = tmp_path / "work/out"

    def vanish(done: int, total: int) -> None:
        if done == 4:
            shutil.rmtree(out.with_name(".out.partial"))

    with pytest.raises(FileNotFoundError, match=r"\.out\.partial was removed while .*out was in"):
        convert_class_maps(tmp_path, out, progress=vanish)
    assert not out.exists()
    shutil.rmtree(out.with_name(".out.partial"))
    assert convert_class_maps(tmp_path, out).images_out == 8
    listed = json.loads((out / "panoptic.json").read_text())["annotations"]
    assert all((out / "panoptic" / a["file_name"]).is_file() for a in listed)
