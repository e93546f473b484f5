"""Splits that leave a part empty, and groups that are none, are errors with a way out."""

import os

import pytest
from class_maps import convert_class_maps, write_class_maps

from detr_d2.conversion.splits import BY_HASH, Split, check_split, split_images


def test_a_part_that_would_be_empty_is_an_error():
    hashes = dict.fromkeys("abc", 7)
    with pytest.raises(ValueError, match=r"all 3 images are one group by 'perceptual-hash', so .*"):
        split_images(hashes, Split(0.8, group=BY_HASH))
    with pytest.raises(ValueError, match=r"all 3 images are one group by .*another --group-by"):
        split_images(hashes, Split(0.8, group="()"))
    with pytest.raises(ValueError, match=r"split: there is one image, so .* without --split"):
        split_images({"a": 7}, Split(0.8))
    assert set(split_images(hashes, Split(0.8)).values()) == {"train", "val"}
    assert split_images({}, Split(0.8)) == {}


def test_what_names_tell_is_said_before_the_conversion(tmp_path):
    write_class_maps(tmp_path, 2)
    for group, message in (
        ("(", r"group pattern '\(' is no regular expression: missing \)"),
        ("x(.)", "does not match"),
        (r"(\.)", "all 2 images are one group"),
    ):
        with pytest.raises(ValueError, match=message):
            convert_class_maps(tmp_path, tmp_path / "out", split=Split(0.5, group=group))
    assert sorted(os.listdir(tmp_path)) == ["images", "masks"]
    check_split(["a", "b"], Split(0.5, group=BY_HASH))
