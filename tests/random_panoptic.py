"""Random panoptic sets on disk, with all that panopticapi has a rule for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detr_d2.ops.panoptic_ids import id_to_rgb

CATEGORIES = [{"id": 3 * i + 2, "name": f"class {i}", "isthing": i % 2} for i in range(6)]


def save_ids(path: Path, ids: np.ndarray) -> None:
    """Write an id PNG, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(id_to_rgb(ids)).save(path)


def paint(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Numbers 0..count (H, W) in overlapping rectangles; 0 is what none covers."""
    numbers = np.zeros(size, np.int64)
    for number in range(1, count + 1):
        top, left = (int(rng.integers(0, side - 1)) for side in size)
        height, width = rng.integers(2, 14, 2)
        numbers[top : top + height, left : left + width] = number
    return numbers


def segments_of(
    rng: np.random.Generator, ids: np.ndarray, categories: list[dict[str, Any]], crowds: float
) -> list[dict[str, Any]]:
    """A segment for every id but 0, in random order, with its true area."""
    present = [int(i) for i in rng.permutation(np.unique(ids)) if i]
    return [
        {
            "id": number,
            "category_id": int(rng.choice([c["id"] for c in categories])),
            "iscrowd": int(rng.random() < crowds),
            "area": int((ids == number).sum()),
        }
        for number in present
    ]


def make_random_set(
    root: Path, seed: int, images: int = 4, categories: list[dict[str, Any]] = CATEGORIES
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write folders and JSONs ROOT/ground_truth and ROOT/found; gives the content of both.

    The prediction is the ground truth, shifted, with some segments in another class, some void and
    some new. The last image has no segment on either side.
    """
    rng = np.random.default_rng(seed)
    ground_truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for place in range(images):
        size = int(rng.integers(18, 40)), int(rng.integers(18, 40))
        count = int(rng.integers(2, 16)) if place < images - 1 else 0
        numbers = paint(rng, size, count)
        ids = np.concatenate([[0], rng.choice(2**24 - 1, count, replace=False) + 1])[numbers]
        segments = segments_of(rng, ids, categories, crowds=0.3)
        guess = np.roll(numbers, rng.integers(-1, 2, 2), (0, 1))
        guess = np.where(paint(rng, size, 1 if count else 0), count + 1, guess)
        guess[np.isin(guess, rng.integers(1, count + 2, count // 6))] = 0
        names = {int(i): s["category_id"] for s in segments for i in numbers[ids == s["id"]][:1]}
        guesses = segments_of(rng, guess, categories, crowds=0)
        for segment in guesses:
            if rng.random() < 0.8:
                segment["category_id"] = names.get(segment["id"], segment["category_id"])
        # An id that the JSON of the ground truth does not list is neither void nor a segment.
        segments = segments[: len(segments) - int(rng.integers(0, 2))] if count else segments
        for folder, entries, values, listed in (
            ("ground_truth", ground_truth, ids, segments),
            ("found", found, guess, guesses),
        ):
            # Untidy names: a folder, a space, and one base name for all.
            name = f"{place}/im age.png"
            save_ids(root / folder / name, values)
            entry = {"image_id": f"{place:02}", "file_name": name, "segments_info": listed}
            entries.append(entry)
    content = {"images": [], "annotations": ground_truth, "categories": categories}
    (root / "ground_truth.json").write_text(json.dumps(content))
    (root / "found.json").write_text(json.dumps({"annotations": found}))
    return content, found
