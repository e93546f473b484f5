import argparse
import json
import os
import pickle
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from detectron2.utils.file_io import PathManager
from safetensors.torch import save_file

from detr_d2.checkpoint.reading import WeightsError, read_contents
from detr_d2.data.categories import CategoryTable


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
    with pytest.raises(WeightsError, match=r"model.pth is rejected[\s\S]*convert it"):
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
    from detr_d2.checkpoint.array_pickle import _encode

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
        (b"\x80\x04garbage", "rejected"),
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
    "b": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a": torch.tensor([True, False]),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "one": torch.tensor(5),
    "none": torch.zeros(0, 4),
}


def test_safetensors_are_read_whatever_their_name(tmp_path):
    path = tmp_path / "x"
    save_file(TENSORS, path)
    read = read_contents(str(path)).data
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HUGE = {"dtype": "U8", "shape": [10**12], "data_offsets": [0, 10**12]}


@pytest.mark.parametrize(
    "header",
    [
        {"w": {**ENTRY, "data_offsets": [0, 4000]}},
        {"w": {**ENTRY, "shape": [3]}},
        {"w": {**ENTRY, "dtype": "F7"}},
        {"w": {**ENTRY, "shape": [-2]}},
        {"w": HUGE},
        # A small file of thousands of overlapping tensors would fill the memory.
        {"w": ENTRY, "v": ENTRY},
        {f"w{i}": ENTRY for i in range(1000)},
        {"w": None},
        [],
    ],
    ids=["end", "shape", "dtype", "negative", "huge", "overlap", "overlaps", "null", "list"],
)
def test_a_broken_safetensors_header_is_rejected(tmp_path, header):
    path = tmp_path / "x.safetensors"
    text = json.dumps(header).encode().ljust(8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        read_contents(str(path))


def test_a_hugging_face_folder_in_shards(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(1)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "../x/model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "detr", "num_queries": 5}))
    contents = read_contents(str(tmp_path))
    assert contents.data.keys() == {"a", "b"} and contents.config["num_queries"] == 5
    # A weight file alone finds the config beside it.
    assert read_contents(str(tmp_path / "model-1.safetensors")).config["num_queries"] == 5
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert read_contents(str(tmp_path)).config == {}
    # Of another program, or cut off.
    for text in ("{'model_type': 'detr'}", '{"model_type": "de', "[]"):
        (tmp_path / "config.json").write_text(text)
        (tmp_path / "categories.json").write_text(text)
        contents = read_contents(str(tmp_path / "model-1.safetensors"))
        assert (contents.config, contents.categories) == ({}, ())


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        read_contents(str(tmp_path))


def test_a_file_that_cannot_be_downloaded_is_one_message_with_the_way_out(monkeypatch):
    def fail(location):
        raise OSError("Name or service not known")

    monkeypatch.setattr(PathManager, "get_local_path", fail)
    with pytest.raises(WeightsError, match=r"https://x/w\.pth cannot be .*not known.*WEIGHTS FILE"):
        read_contents("https://x/w.pth")


def test_names_of_an_edited_list_of_categories_come_in_the_order_of_the_table(tmp_path):
    """Things first, then by id: as the rows of the weights are, whatever the order of the list."""
    entries = [
        {"id": 7, "name": "sky", "isthing": 0},
        {"id": 9, "name": "cat", "isthing": 1},
        {"id": 2, "name": "road", "isthing": 0},
        {"id": 4, "name": "bird", "isthing": 1},
    ]
    (tmp_path / "categories.json").write_text(json.dumps(entries))
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "model.pth")
    names = read_contents(str(tmp_path / "model.pth")).categories
    assert names == ("bird", "cat", "road", "sky")
    table = CategoryTable(entries)
    assert names == tuple(category.name for category in table.categories)


def test_a_folder_is_read_from_safetensors_first_then_from_torch(tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "part.bin")
    index = {"weight_map": {"w": "part.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert read_contents(str(tmp_path)).data["w"].item() == 0
    torch.save({"w": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert read_contents(str(tmp_path)).data["w"].item() == 1
    save_file({"w": torch.full((1,), 2.0)}, tmp_path / "model.safetensors")
    assert read_contents(str(tmp_path)).data["w"].item() == 2


def test_a_downloaded_file_is_called_by_its_address(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(1)}, tmp_path / "cached")
    monkeypatch.setattr(PathManager, "get_local_path", lambda location: str(tmp_path / "cached"))
    contents = read_contents("https://x/w.pth")
    assert (contents.path, contents.data["w"].item()) == ("https://x/w.pth", 1)


@pytest.mark.parametrize("page", [b"\n <!doctype html>", b"<html lang=en>", b" <HTML>"])
def test_web_pages_of_all_kinds_are_known(tmp_path, page):
    (tmp_path / "w.pth").write_bytes(page)
    with pytest.raises(WeightsError, match=r"w\.pth is a web page"):
        read_contents(str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyError("w"), r"rejected: KeyError 'w'\n"),
        (OSError("it is cut off"), r": it is cut off\n"),
    ],
)
def test_an_error_of_few_words_is_told_with_its_kind(tmp_path, monkeypatch, error, says):
    def fail(*_, **__):
        raise error

    torch.save({}, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(WeightsError, match=says):
        read_contents(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("heads", [0, -8, True, 8.0])
def test_numbers_of_heads_that_are_none_are_rejected(tmp_path, heads):
    config = {"model_type": "detr", "encoder_attention_heads": heads}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=f"encoder_attention_heads is {heads}"):
        read_contents(str(tmp_path))


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpys_old_and_new_names_are_known(tmp_path, module):
    """Each writes one of them; the names in the pickle are exchanged."""
    content = {"model": OrderedDict(w=np.float32([1.5])), "number": np.float64(0.5)}
    written = pickle.dumps(content, 0)
    written = re.sub(rb"numpy\._?core\.multiarray", module.encode(), written)
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + written)
    data = read_contents(str(tmp_path / "x.pkl")).data
    assert type(data["model"]) is OrderedDict and data["model"]["w"].tolist() == [1.5]
    assert data["number"] == 0.5
