"""Images that look alike: compared with a plain double loop, and with many frames of one camera."""

import random

import numpy as np
import pytest

from detr_d2.conversion.near_duplicates import BLOCK, groups_by_hash, near_later
from detr_d2.validation.check import find_near_duplicates

ALL = 2**64 - 1


def pairs_of(hashes, distance):
    return {
        (start + int(row), start + int(column))
        for start, near in near_later(hashes, distance)
        for row, column in zip(*np.nonzero(near), strict=True)
    }


def frames(count: int, flips: int, seed: int = 0) -> list[int]:
    """Hashes of a camera's frames: each differs from the first in `flips` random bits."""
    generator = random.Random(seed)
    scene = generator.getrandbits(64)
    found = []
    for _ in range(count):
        value = scene
        for bit in generator.sample(range(64), flips):
            value ^= 1 << bit
        found.append(value)
    return found


@pytest.mark.parametrize("distance", [0, 3, 5, 64])
def test_pairs_are_those_of_a_double_loop(distance):
    # Three blocks, the last one short; with hashes of no bit and of all.
    hashes = [0, ALL, *frames(2 * BLOCK, 2), *frames(5, 3, seed=1)]
    expected = {
        (i, j)
        for j in range(len(hashes))
        for i in range(j)
        if (hashes[i] ^ hashes[j]).bit_count() <= distance
    }
    assert pairs_of(hashes, distance) == expected
    assert distance == 64 or len(expected) < len(hashes) ** 2 // 2 - len(hashes)


def test_no_image_and_one_image():
    assert groups_by_hash([]) == []
    assert groups_by_hash([7]) == ["0"]


def test_groups_join_through_others_and_across_blocks():
    # 0 and 0b1111 differ in four bits, each in two from 0b11, which lies in another block.
    hashes = [0, *frames(BLOCK, 0), 0b1111, 0b11]
    found = groups_by_hash(hashes, distance=2)
    last = len(hashes) - 1
    assert found == [str(last), *[str(BLOCK)] * BLOCK, str(last), str(last)]
    assert groups_by_hash(hashes, distance=1)[0] == "0"


def test_every_bit_of_the_hash_counts():
    for bit in range(64):
        assert groups_by_hash([0, 1 << bit], distance=0) == ["0", "1"]
        assert groups_by_hash([0, 1 << bit], distance=1) == ["1", "1"]


def test_thousands_of_alike_frames_are_one_group():
    assert set(groups_by_hash(frames(3000, 2))) == {"2999"}


def test_an_image_that_looks_like_many_of_another_part_is_one_finding():
    train = {f"t{i}": 0b1 for i in range(3)} | {"far": ALL}
    val = {f"v{i}": 0b11 for i in range(BLOCK)}
    found = list(find_near_duplicates({"train": train, "val": val}, 1))
    assert [f.file for f in found] == [f"t{i} of train" for i in range(3)]
    assert {f.found for f in found} == {f"looks like v0 of val and {BLOCK - 1} more"}
