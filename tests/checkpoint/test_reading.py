import argparse
import json
import os
import pickle

import numpy as np
import pytest
import torch

from detr_d2.checkpoint.reading import WeightsError, read_contents
from detr_d2.checkpoint.safetensors import read_safetensors, write_safetensors


class Harmful:
    """Creates a file when a pickle of it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["model.pkl", "model.pth", "model.bin", "pytorch_model.bin"])
def test_a_pickle_that_would_create_something_is_refused_and_creates_nothing(tmp_path, name):
    made = tmp_path / "made"
    path = tmp_path / name
    content = {"model": {"weight": np.zeros(2)}, "extra": Harmful(made)}
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=r"mkdir[\s\S]*convert it"):
        read_contents(str(path))
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists(), "the test's pickle is harmful indeed"


@pytest.mark.parametrize("old", [False, True])
def test_a_torch_file_that_would_create_something_is_refused(tmp_path, old):
    made = tmp_path / "made"
    path = tmp_path / "model.pth"
    content = {"model": {"weight": torch.zeros(2)}, "extra": Harmful(made)}
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(WeightsError, match=r"model.pth is refused[\s\S]*convert it"):
        read_contents(str(path))
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()


@pytest.mark.parametrize("old", [False, True])
def test_torch_files_are_read_whatever_they_are_called(tmp_path, old):
    path = tmp_path / "weights.of.mine"
    arguments = argparse.Namespace(lr=1e-4, masks=True)
    content = {"model": {"w": torch.arange(3.0)}, "args": arguments, "epoch": 7}
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    data = read_contents(str(path)).data
    assert data["model"]["w"].tolist() == [0, 1, 2] and data["args"].masks and data["epoch"] == 7


@pytest.mark.parametrize("protocol", [2, 4])
def test_detectron2_pickles_of_arrays_are_read(tmp_path, protocol):
    path = tmp_path / "R-50.pkl"
    content = {
        "model": {"stem.conv1.weight": np.arange(6, dtype=np.float32).reshape(2, 3)},
        "__author__": "torchvision",
        "matching_heuristics": True,
        "number": np.float64(0.5),
    }
    path.write_bytes(pickle.dumps(content, protocol))
    data = read_contents(str(path)).data
    assert data["model"]["stem.conv1.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert data["number"] == 0.5 and data["__author__"] == "torchvision"


def test_bytes_in_a_pickle_must_be_latin1():
    from detr_d2.checkpoint.reading import _encode

    assert _encode("\xff", "latin1") == b"\xff"
    with pytest.raises(pickle.UnpicklingError, match="zlib"):
        _encode("x", "zlib")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n", "unknown kind"),
        (b"\x80\x04garbage", "refused"),
        (pickle.dumps([1, 2]), "holds a list"),
    ],
)
def test_other_files_are_refused_with_what_they_are(tmp_path, content, says):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        read_contents(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        read_contents(str(tmp_path / "gone.pth"))


TENSORS = {
    "b": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
    "a": torch.tensor([True, False]),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "one": torch.tensor(5),
    "none": torch.zeros(0, 4),
}


def test_safetensors_there_and_back(tmp_path):
    path = tmp_path / "x"
    write_safetensors(path, TENSORS)
    read = read_contents(str(path)).data
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data_offsets": [0, 4000]}, "bytes 0 to 4000 of"),
        ({"shape": [3]}, "should lie at"),
        ({"dtype": "F8"}, "allowed"),
    ],
)
def test_a_broken_safetensors_header_is_refused(tmp_path, change, says):
    path = tmp_path / "x.safetensors"
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"w": {**entry, **change}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(WeightsError, match=says):
        read_contents(str(path))


def test_a_hugging_face_folder_in_shards(tmp_path):
    write_safetensors(tmp_path / "model-1.safetensors", {"a": torch.ones(1)})
    write_safetensors(tmp_path / "model-2.safetensors", {"b": torch.zeros(1)})
    index = {"weight_map": {"a": "model-1.safetensors", "b": "../x/model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "detr", "num_queries": 5}))
    contents = read_contents(str(tmp_path))
    assert contents.data.keys() == {"a", "b"} and contents.config["num_queries"] == 5
    # A weight file alone finds the config beside it.
    assert read_contents(str(tmp_path / "model-1.safetensors")).config["num_queries"] == 5
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert read_contents(str(tmp_path)).config == {}


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        read_contents(str(tmp_path))


def test_safetensors_of_their_own_program_are_read(tmp_path):
    theirs = pytest.importorskip("safetensors.torch")
    plain = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    theirs.save_file(plain, tmp_path / "theirs.safetensors")
    read = read_safetensors(str(tmp_path / "theirs.safetensors"))
    write_safetensors(tmp_path / "ours.safetensors", TENSORS)
    back = theirs.load_file(tmp_path / "ours.safetensors")
    for name, tensor in plain.items():
        assert torch.equal(read[name], tensor) and torch.equal(back[name], tensor)
