"""Full disks and vanished folders: one line that names the file, and what was there stays whole."""

import functools
import json
import shutil

import numpy as np
import pytest
from kills import run_on_full_disk
from PIL import Image
from synthetic_crates import colour_cfg, files_of, write_crates
from tiny_run import write_tiny_run

from detr_d2.checkpoint import open_weights
from detr_d2.checkpoint.writing import write_original
from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.pseudo_labels import label_stuff

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def masks(tmp_path):
    """Eight images with class maps."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(8):
        values = np.eye(12 + number, 20, dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"masks/{number}.png")
        Image.fromarray(np.stack([values * 200] * 3, -1)).save(tmp_path / f"images/{number}.png")
    return tmp_path


def convert(root, **options):
    source = open_format(
        "semantic-png",
        images=str(root / "images"),
        masks=str(root / "masks"),
        values="0=ground,1=nut",
    )
    return convert_set(source, root / "work/out", **options)


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


def test_an_export_on_a_full_disk_leaves_nothing(tmp_path):
    write_tiny_run(tmp_path)
    weights = open_weights(str(tmp_path / "model_final.pth"))
    work = functools.partial(write_original, str(tmp_path / "work/a.pth"), weights)
    message = run_on_full_disk(work, 5000)
    assert message.startswith("OSError") and "a.pth is not written" in message
    assert list((tmp_path / "work").iterdir()) == []


def test_a_working_folder_that_vanishes_ends_the_conversion(masks):
    def vanish(done: int, total: int) -> None:
        if done == 4:
            shutil.rmtree(masks / "work/.out.partial")

    with pytest.raises(FileNotFoundError, match=r"\.out\.partial was removed while .*out was in"):
        convert(masks, progress=vanish)
    assert not (masks / "work/out").exists()
    shutil.rmtree(masks / "work/.out.partial")
    assert convert(masks).images_out == 8
    listed = json.loads((masks / "work/out/panoptic.json").read_text())["annotations"]
    assert all((masks / "work/out/panoptic" / a["file_name"]).is_file() for a in listed)
