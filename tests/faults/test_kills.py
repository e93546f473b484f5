"""kill -9 at random moments: what was finished stays, and the work goes on.

Conversion, labelling and export; the training is in tests/engine/test_kill.py. A few moments
each, or as many as DETR_D2_KILLS says.
"""

import functools
import shutil

import numpy as np
import pytest
import torch
from class_maps import convert_class_maps, write_class_maps
from kills import assert_no_half_file, moments_of, run_and_kill
from PIL import Image
from synthetic_crates import colour_cfg, files_of, write_crates
from tiny_run import write_tiny_run

from detr_d2.checkpoint import open_weights
from detr_d2.checkpoint.writing import write_original
from detr_d2.pseudo_labels import label_stuff

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def masks(tmp_path):
    """Six images with class maps, of which every conversion makes a set."""
    write_class_maps(tmp_path, 6)
    return tmp_path


def convert(root, out: str) -> None:
    convert_class_maps(root, root / "work" / out)


def test_a_killed_conversion_keeps_the_earlier_result_and_goes_on(masks):
    work = functools.partial(convert, masks, "out")
    (masks / "work").mkdir()
    moments = list(moments_of(work, masks / "work", seed=2))
    earlier = files_of(masks / "work/out")
    # One more pixel of the class: a new result.
    changed = np.asarray(Image.open(masks / "masks/0.png")).copy()
    changed[0] = 1
    Image.fromarray(changed).save(masks / "masks/0.png")
    convert(masks, "expected")
    expected = files_of(masks / "work/expected")
    shutil.copytree(masks / "work/out", masks / "earlier")
    assert expected.keys() == earlier.keys() and expected != earlier
    for moment in moments:
        shutil.rmtree(masks / "work")
        shutil.copytree(masks / "earlier", masks / "work/out")
        run_and_kill(work, masks / "work", moment)
        found = files_of(masks / "work/out")
        # Between two renames the folder may be absent; the next run brings it back.
        assert found in (earlier, expected, {}), moment
        run_and_kill(work, masks / "work", None)
        assert files_of(masks / "work") == {f"out/{k}": v for k, v in expected.items()}, moment


def test_killed_labelling_goes_on_to_the_same_files(register, tmp_path):
    (tmp_path / "set").mkdir()
    name = register(**write_crates(tmp_path / "set"))
    cfg = colour_cfg(tmp_path)
    work = functools.partial(label_stuff, cfg, [name], tmp_path / "work/out", batch=2)
    expected: dict[str, bytes] = {}
    for moment in moments_of(work, tmp_path / "work", seed=3):
        expected = expected or files_of(tmp_path / "work")
        shutil.rmtree(tmp_path / "work")
        run_and_kill(work, tmp_path / "work", moment)
        assert_no_half_file(tmp_path / "work")
        run_and_kill(work, tmp_path / "work", None)
        assert files_of(tmp_path / "work") == expected, moment


def assert_same_weights(path, expected):
    tensors, others = (open_weights(str(file)).tensors for file in (path, expected))
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_a_killed_export_leaves_no_half_weights(tmp_path):
    write_tiny_run(tmp_path)
    weights = open_weights(str(tmp_path / "model_final.pth"))
    work = functools.partial(write_original, str(tmp_path / "work/a.pth"), weights)
    expected: dict[str, bytes] = {}
    for moment in moments_of(work, tmp_path / "work", seed=4):
        if not expected:
            expected = files_of(tmp_path / "work")
            shutil.copy(tmp_path / "work/a.pth", tmp_path / "expected.pth")
        shutil.rmtree(tmp_path / "work")
        run_and_kill(work, tmp_path / "work", moment)
        assert_no_half_file(tmp_path / "work")
        # Hidden files are what a later run removes. Bytes differ by the name of the temporary file.
        left = files_of(tmp_path / "work") if (tmp_path / "work").exists() else {}
        assert {name for name in left if name[0] != "."} <= expected.keys(), moment
        if "a.pth" in left:
            assert_same_weights(tmp_path / "work/a.pth", tmp_path / "expected.pth")
        run_and_kill(work, tmp_path / "work", None)
        assert_same_weights(tmp_path / "work/a.pth", tmp_path / "expected.pth")
