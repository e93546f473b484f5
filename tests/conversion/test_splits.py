"""Splits that leave a part empty, and groups that are none, are errors with a way out."""

import os

import pytest
from class_maps import convert_class_maps, write_class_maps

from detr_d2.conversion.splits import (
    BY_HASH,
    Split,
    check_split,
    groups_by_pattern,
    split_by_group,
    split_images,
)


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


def test_without_a_split_all_images_are_one_part():
    assert split_images({"b": 1, "a": 1}, None) == {"a": "", "b": ""}
    assert split_images({}, None) == {}
    check_split(["a"], None)


def test_a_choice_is_that_of_its_share_and_seed_whatever_the_order():
    names = [f"img {i}.jpg" for i in range(20)]
    hashes = dict.fromkeys(names, 0)
    found = split_images(hashes, Split(0.7))
    assert list(found) == sorted(names)
    assert list(found.values()).count("train") == 14
    assert found == split_images(dict.fromkeys(reversed(names), 0), Split(0.7, seed=0))
    assert found != split_images(hashes, Split(0.7, seed=1))


@pytest.mark.parametrize(
    ("split", "together"),
    [
        # Three groups of two each: by the letter, and by hashes that differ in five bits.
        (Split(0.5, group=r"^\d([a-c])"), ["1a", "2a"]),
        (Split(0.5, group=BY_HASH), ["1a", "1b"]),
    ],
)
def test_groups_stay_together(split, together):
    hashes = {"1a": 0, "2a": 2**60, "1b": 0b11111, "2b": 2**60 - 1, "1c": 2**30, "2c": 2**61}
    for seed in range(8):
        parts = split_images(hashes, Split(split.share, seed, split.group))
        assert len({parts[name] for name in together}) == 1
        assert set(parts.values()) == {"train", "val"}


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match=f"share of training {share}, must be between 0 and 1"):
        split_by_group("ab", share, 0)
    with pytest.raises(ValueError, match="share of training"):
        check_split(["a", "b"], Split(share))


def test_groups_of_names():
    """The first brackets count, anywhere in the name."""
    names = ["site a/1_x.jpg", "site b/1_y.jpg"]
    assert groups_by_pattern(names, r"/(\d)_(.)") == ["1", "1"]
    assert groups_by_pattern(names, r"site (.)") == ["a", "b"]
    with pytest.raises(ValueError, match=r"'site .' has no brackets around the group"):
        groups_by_pattern(names, "site .")
    with pytest.raises(ValueError, match=r"'a\(\.\)' does not match \['0', '1', '2', '3', '4'\]"):
        groups_by_pattern([*"0123456", "ax"], "a(.)")


def test_the_choice_of_a_seed_is_the_same_in_every_process():
    groups = ["d", "a", "c", "b", "e", "f"]
    found = split_by_group(groups, 0.5, 3)
    assert {g for g, chosen in zip(groups, found, strict=True) if chosen} == set("acd")
    assert split_by_group(groups[::-1], 0.5, 3) == found[::-1]


def test_sizes_of_groups_count_and_what_is_halfway_goes_to_training():
    # Of three that are half of all, and of one each.
    assert {sum(split_by_group("aaabcd", 0.5, seed)) for seed in range(20)} == {3, 4}
    assert sum(split_by_group("abc", 0.5, 0)) == 2
