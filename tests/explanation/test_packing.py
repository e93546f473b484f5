import base64
import gzip

import numpy as np
import pytest
import torch

from detr_d2.explanation.packing import Packer, compress_json


def raw_bytes(packer, name):
    return list(gzip.decompress(base64.b64decode(packer.arrays[name].text)))


def test_bytes_of_small_arrays():
    packer = Packer()
    packer.add("plain", np.array([[0.0, 5.1], [2.0, 1.0]]), "", from_zero=True)
    # The scale is 5.1 / 255 = 0.02.
    assert raw_bytes(packer, "plain") == [0, 255, 100, 50]
    packer.add("delta", np.array([[1.0, 3.0, 2.0], [9.0, 9.0, 1.0]]), "", step=1.0, delta=True)
    # From 1: levels 0 2 1, 8 8 0; differences plus 128.
    assert raw_bytes(packer, "delta") == [0, 130, 127, 8, 128, 120]
    packer.add("wide", np.array([0.0, 1.0, 300.0]), "", step=1.0)
    # 300 = 44 + 256: first all low bytes, then all high ones.
    assert raw_bytes(packer, "wide") == [0, 1, 44, 0, 0, 1]
    packer.add_integers("ids", np.array([7, 0]), "")
    assert raw_bytes(packer, "ids") == [7, 0]


def test_levels_are_multiples_of_the_step():
    packer = Packer()
    packer.add("a", np.array([0.0, -0.3, 1.1, 0.2]), "", step=0.5)
    assert packer.values("a").tolist() == [0.0, -0.5, 1.0, 0.0]


@pytest.mark.parametrize(("highest", "dtype"), [(255.0, "uint8"), (256.0, "uint16")])
def test_the_type_is_the_smallest_that_holds_all_levels(highest, dtype):
    packer = Packer()
    packer.add("a", np.array([0.0, highest]), "", step=1.0)
    assert packer.arrays["a"].description["dtype"] == dtype
    assert packer.values("a").tolist() == [0.0, highest]


def test_the_step_grows_where_16_bits_would_not_hold_all_levels():
    packer = Packer()
    values = np.array([-3e5, 2e5, 7e5])
    packer.add("a", values, "", step=1.0)
    np.testing.assert_allclose(packer.values("a"), values, atol=1e6 / 65534)


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("leading", [0, 1, 2])
def test_values_come_back_within_the_stated_tolerance(leading, delta):
    values = np.random.default_rng(0).normal(3, 5, (2, 3, 17)) * np.array([1, 20])[:, None, None]
    packer = Packer()
    packer.add("a", values, "", leading=leading, delta=delta)
    packer.add("fine", values, "", leading=leading, delta=delta, step=0.01)
    error = np.abs(packer.values("a") - values)
    assert error.max() <= packer.arrays["a"].description["tolerance"] * 1.0001
    assert error.max() < 1, "half a 255th of a range of 400"
    if leading:
        assert error[0].max() < 0.1, "the small row has its own scale"
    assert packer.arrays["fine"].description["dtype"] == "uint16"
    assert np.abs(packer.values("fine") - values).max() < 0.0051


def test_arrays_without_elements_or_differences():
    packer = Packer()
    packer.add("none", np.zeros((0, 4, 5)), "", leading=1)
    packer.add("same", np.full((2, 3), 4.0), "")
    assert packer.values("none").shape == (0, 4, 5)
    assert (packer.values("same") == 4).all()


def test_a_name_is_given_once():
    packer = Packer()
    packer.add_integers("a", np.zeros(1), "")
    with pytest.raises(ValueError, match="'a' is packed twice"):
        packer.add_integers("a", np.zeros(1), "")


def test_256_levels_from_the_smallest_to_the_largest_or_from_0():
    packer = Packer()
    packer.add("all", np.array([2.0, 257.0]), "")
    packer.add("zero", np.array([2.0, 255.0]), "", from_zero=True)
    found = [packer.arrays[name].description for name in ("all", "zero")]
    assert [(what["scale"], what["offset"]) for what in found] == [(1, 2), (1, 0)]
    assert raw_bytes(packer, "zero") == [2, 255]


def test_16_bits_are_used_to_the_last_level():
    packer = Packer()
    packer.add("a", np.array([0.0, 131068.0]), "", step=1.0)
    assert packer.arrays["a"].description["scale"] == 2
    assert packer.values("a").tolist() == [0, 131068]


def test_the_tolerance_is_the_largest_error():
    packer = Packer()
    packer.add("a", np.array([0.0, 0.4, 1.25, 9.0]), "", step=1.0)
    assert packer.arrays["a"].description["tolerance"] == 0.4


def test_offsets_that_are_all_0_take_no_array():
    packer = Packer()
    packer.add("a", np.array([[0.0, 5], [0, 9]]), "", leading=1)
    assert sorted(packer.arrays) == ["a", "a.scale"]
    assert packer.arrays["a"].description["offset"] == 0


def test_equal_data_give_equal_text_at_any_time(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)
    before = compress_json({"class": ["Grün", 1]})
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert compress_json({"class": ["Grün", 1]}) == before
    assert gzip.decompress(base64.b64decode(before)).decode() == '{"class":["Grün",1]}'


def test_tensors_of_a_model_are_packed_as_they_are():
    packer = Packer()
    packer.add_integers("a", torch.arange(3), "")
    packer.add("b", torch.tensor([1.0, 2.0], requires_grad=True), "")
    assert packer.values("a").tolist() == [0, 1, 2]
    np.testing.assert_allclose(packer.values("b"), [1, 2], atol=1e-6)
