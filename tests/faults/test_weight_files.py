"""Malformed weight files end in one message, use no memory that is not theirs, and run nothing."""

import argparse
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from detr_d2.checkpoint import WeightsError, load_weights, open_weights
from detr_d2.checkpoint.array_pickle import read_array_pickle
from detr_d2.checkpoint.reading import read_contents


class Scalar:
    """Pickled as a call of NumPy's `scalar`, with any type and bytes."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return np.float64(0).__reduce__()[0], self.arguments


class Zeros:
    """Pickled as a call of `bytes` that fills the memory."""

    def __init__(self, count):
        self.count = count

    def __reduce__(self):
        return bytes, (self.count,)


class Array:
    """Pickled as an array with any state."""

    def __init__(self, *state):
        self.state = state

    def __reduce__(self):
        return np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), self.state


class Type:
    """Pickled as a NumPy type with any name and state."""

    def __init__(self, name, *state):
        self.name, self.state = name, state

    def __reduce__(self):
        return np.dtype, (self.name, False, True), self.state


F8 = np.dtype("f8")
PLAIN = (3, "<", None, None, None, -1, -1, 0)
DOCTORED = {
    "scalar of objects": Scalar(np.dtype("O"), b"\x41" * 8),
    "scalar of too few bytes": Scalar(F8, b"\0" * 4),
    "scalar of too many bytes": Scalar(F8, b"\0" * 16),
    "scalar without type": Scalar("f8", b"\0" * 8),
    "scalar of a record": Scalar(np.dtype([("a", "f8")]), b"\0" * 8),
    "scalar of text": Scalar(np.dtype("S8"), b"\0" * 8),
    "type with another size": Scalar(Type("V8", *PLAIN[:5], 4000, 1, 0), b"\0" * 8),
    "type with fields": Scalar(
        Type("f8", 3, "|", None, ("a",), {"a": (F8, 9)}, 8, 1, 0), b"\0" * 8
    ),
    "type within a type": Scalar(Type("f8", 3, "<", (F8, (9,)), None, None, 8, 1, 0), b"\0" * 8),
    "array of objects": Array(1, (1,), np.dtype("O"), False, [5]),
    "array larger than its bytes": Array(1, (1000,), F8, False, b"\0" * 8),
    "array of negative size": Array(1, (-1, -1), F8, False, b"\0" * 8),
    "array of size beyond all memory": Array(1, (2**62, 4), F8, False, b""),
    "array of true size": Array(1, (True,), F8, False, b"\0" * 8),
    "empty bytes with arguments": Scalar(F8, Zeros(10**12)),
    "array without content": Array(1, (1,), F8, False, None),
    "array with half a state": Array(1, (1,)),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_doctored_numbers_are_rejected(tmp_path, name):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": {"w": DOCTORED[name]}}, 2))
    with pytest.raises(WeightsError, match=r"x\.pkl is rejected"):
        read_contents(str(path))


@pytest.mark.parametrize("kind", ["?", "u1", "i2", "<i8", ">i4", "f2", "<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_numbers_are_read_as_they_were(tmp_path, kind, order):
    array = np.asarray(np.arange(6).reshape(2, 3) % 2, dtype=kind, order=order)
    # A list that stands there twice stays one value, whatever a file's size.
    content = {"a": array, "none": array[:0], "one": array[0, 1], "twice": [array, (array, 5, "x")]}
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    read = read_array_pickle(str(path))
    for found in (read["a"], read["twice"][0], read["twice"][1][0]):
        assert found.dtype == array.dtype.newbyteorder("=") and np.array_equal(found, array)
    assert read["none"].shape == (0, 3) and read["one"] == array[0, 1]
    assert read["twice"][1][1:] == (5, "x")


def test_arrays_that_python_2_wrote_are_read(tmp_path):
    numbers = struct.pack("<2f", 1.5, -2.0)
    path = tmp_path / "R-50.pkl"
    path.write_bytes(
        b"\x80\x02}U\x06conv_wcnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt"
        b"R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + numbers + b"tbs."
    )
    assert read_array_pickle(str(path))["conv_w"].tolist() == [1.5, -2.0]


def test_a_list_named_over_and_over_costs_no_time(tmp_path):
    nested = []
    for _ in range(200):
        nested = [nested, nested]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": {"w": np.zeros(1)}, "bomb": nested}, 2))
    assert open_weights(str(path)).tensors["w"].tolist() == [0]


def cut_zip(path):
    torch.save({"model": {"w": torch.zeros(100)}}, path)
    path.write_bytes(path.read_bytes()[:300])


def other_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "no weights")


def cut_safetensors(path):
    save_file({"w": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-8])


def zero_header(path):
    path.write_bytes(struct.pack("<Q", 4) + b"{}  ")


def cut_old_torch(path):
    torch.save({"w": torch.zeros(9)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-20])


def deep_pickle(path):
    path.write_bytes(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")


MAKERS = [cut_zip, other_zip, cut_safetensors, cut_old_torch, zero_header, deep_pickle]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["model.pth", "weights"])
def test_damaged_files_are_one_message(tmp_path, make, name):
    make(tmp_path / name)
    with pytest.raises(WeightsError, match=str(tmp_path / name)):
        open_weights(str(tmp_path / name))


CLASSIFIER = "box_head.class_embed."
CONTENTS = {
    "no tensors": {"model": {"a": 5}},
    "classes no list": {"model": {"w": torch.zeros(2)}, "classes": 5},
    "sparse": {"model": {"w": torch.zeros(2, 2).to_sparse()}},
    "number as weights": {"model": 5},
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_that_are_no_weights_are_one_message(tmp_path, name):
    torch.save(CONTENTS[name], tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth"):
        open_weights(str(tmp_path / "x.pth"))


class Head(nn.Module):
    """A classifier of two classes and no object, three queries, and a counter."""

    def __init__(self):
        super().__init__()
        self.box_head = nn.ModuleDict({"class_embed": nn.Linear(4, 3)})
        self.query_embed = nn.Embedding(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.class_names = ("brick", "sky")


@pytest.mark.parametrize(
    "changed",
    [
        {CLASSIFIER + "bias": torch.zeros(1)},
        {CLASSIFIER + "bias": torch.tensor(0.0)},
        {CLASSIFIER + "weight": torch.tensor(0.0)},
        {CLASSIFIER + "weight": torch.zeros(0, 4)},
        {"query_embed.weight": torch.zeros(0, 4)},
        {"query_embed.weight": torch.tensor(0.0)},
        {"norm.num_batches_tracked": torch.zeros(5)},
        {7: torch.zeros(1)},
    ],
    ids=lambda changed: "-".join(f"{k}{tuple(v.shape)}" for k, v in changed.items()),
)
def test_tensors_of_odd_shapes_are_reported_and_the_others_loaded(tmp_path, changed):
    model = Head()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    torch.save({"model": state | changed, "classes": ["brick", "sky"]}, tmp_path / "x.pth")
    load_weights(model, open_weights(str(tmp_path / "x.pth")))
    after = model.state_dict()
    for name, tensor in after.items():
        expected = before if name in changed else state
        if name.startswith(CLASSIFIER) and any(key in changed for key in (CLASSIFIER + "weight",)):
            continue
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"model_type": "detr", "id2label": ["a"]}),
        ("config.json", {"model_type": "detr", "id2label": {"a": "b"}}),
        ("config.json", {"model_type": "detr", "encoder_attention_heads": "8"}),
        ("model.safetensors.index.json", {"weight_map": ["a"]}),
        ("model.safetensors.index.json", []),
        ("model.safetensors.index.json", {"weight_map": {"a": 5}}),
    ],
)
def test_malformed_files_of_a_folder_are_named(tmp_path, name, content):
    if name == "config.json":
        save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=name):
        open_weights(str(tmp_path))


@pytest.mark.parametrize("content", [5, [5], [{"id": 1}], {"a": 1}, [[]]])
def test_categories_beside_that_are_none_are_ignored(tmp_path, content):
    torch.save({"model": {"w": torch.zeros(1)}}, tmp_path / "x.pth")
    (tmp_path / "categories.json").write_text(json.dumps(content))
    assert read_contents(str(tmp_path / "x.pth")).categories == ()


def test_odd_arguments_of_a_training_are_ignored(tmp_path):
    arguments = argparse.Namespace(nheads=[1, 2], dilation="x")
    torch.save({"model": {"w": torch.zeros(1)}, "args": arguments}, tmp_path / "x.pth")
    assert "MODEL.DETR.NHEADS" not in open_weights(str(tmp_path / "x.pth")).settings
