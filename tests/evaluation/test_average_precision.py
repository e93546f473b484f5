"""Average precision counted by other backends, against pycocotools."""

import contextlib
import copy
import io
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from detr_d2.evaluation import instances
from detr_d2.evaluation.instances import choose_backend, count_precision

CATEGORIES = (31, 4, 17)  # out of order


def rle_of(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    text = {"size": rle["size"], "counts": rle["counts"].decode()}
    return {"segmentation": text, "bbox": coco_mask.toBbox(rle).tolist()}


def random_instances(seed, image_ids=range(12)):
    """Ground truth (COCO) with crowds and polygons of all areas; results with equal scores."""
    rng = np.random.default_rng(seed)
    images, annotations, results = [], [], []
    for image_id in list(image_ids)[::-1]:
        height, width = (int(side) for side in rng.integers(90, 220, 2))
        images.append({"id": image_id, "height": height, "width": width})
        for _ in range(rng.integers(2, 12)):
            mask = np.zeros((height, width), np.uint8)
            top, left = rng.integers(0, (height // 3, width // 3))
            tall, wide = rng.choice([6, 20, 60, 110, 130], 2)
            mask[top : top + tall, left : left + wide] = 1
            category = int(rng.choice(CATEGORIES))
            common = {"image_id": image_id, "category_id": category}
            entry = {**common, **rle_of(mask), "area": int(mask.sum())}
            entry |= {"id": len(annotations) + 1, "iscrowd": int(rng.random() < 0.2)}
            if not entry["iscrowd"] and rng.random() < 0.5:
                x, y, w, h = entry["bbox"]
                entry["segmentation"] = [[x, y, x + w, y, x + w, y + h / 3, x, y + h]]
            annotations.append(entry)
            for shift in rng.integers(-3, 4, (rng.integers(0, 3), 2)):
                score = round(float(rng.random()), 1)
                found = rle_of(np.roll(mask, shift, (0, 1)))
                results.append({**common, **found, "score": score})
                if rng.random() < 0.2:
                    results[-1]["category_id"] = int(rng.choice(CATEGORIES))
    ground_truth = COCO()
    categories = [{"id": number, "name": str(number)} for number in CATEGORIES]
    content = {"images": images, "annotations": annotations, "categories": categories}
    ground_truth.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth.createIndex()
    return ground_truth, results


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(4))
def test_hotcoco_counts_what_pycocotools_counts(task, seed):
    pytest.importorskip("hotcoco")
    # Names instead of numbers as ids, whose order decides between equal scores.
    names = [f"image {place}" for place in range(12)] if seed % 2 else range(12)
    ground_truth, results = random_instances(seed, names)
    before = copy.deepcopy(results)
    expected = count_precision(ground_truth, results, task, "pycocotools")
    counted = count_precision(ground_truth, results, task, "hotcoco")
    assert results == before
    assert 0.05 < expected.stats[0] < 0.95
    assert (np.array(expected.stats) >= 0).all(), "all area ranges have something to find"
    np.testing.assert_allclose(counted.stats, expected.stats, rtol=0, atol=1e-9)
    for key in ("precision", "recall"):
        np.testing.assert_allclose(counted.eval[key], expected.eval[key], rtol=0, atol=1e-9)


@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
def test_a_mask_is_small_or_large_by_its_own_area(backend):
    """The box of a diagonal of 100 pixels has 10000: large."""
    if backend == "hotcoco":
        pytest.importorskip("hotcoco")
    ground_truth, _ = random_instances(0, [5])
    masks = np.zeros((2, 200, 200), np.uint8)
    masks[0, :100, :100] = masks[1, 100:, 100:] = np.eye(100)
    there, wrong = ({"image_id": 5, "category_id": 4, **rle_of(mask)} for mask in masks)
    ground_truth.dataset["annotations"] = [{**there, "id": 1, "iscrowd": 0, "area": 100}]
    ground_truth.createIndex()
    results = [{**there, "score": 0.5}, {**wrong, "score": 0.9}]
    small = 3
    # What is wrong counts among the small ones as a mask, and not as a box.
    for task, expected in (("segm", 0.5), ("bbox", 1.0)):
        stats = count_precision(ground_truth, results, task, backend).stats
        assert stats[small] == pytest.approx(expected)


def test_unknown_images_of_any_kind_of_id_are_named_in_one_order():
    ground_truth, results = random_instances(0)
    for result, image_id in zip(results, ["b/x", 77, "a", 9.5, "c", 5000, "b"], strict=False):
        result["image_id"] = image_id
    with pytest.raises(ValueError, match=r"^7 predicted .* first: \[5000, 77, 9\.5, 'a', 'b'\]$"):
        count_precision(ground_truth, results, "bbox", "pycocotools")


def test_a_result_of_an_unknown_image_is_named():
    ground_truth, results = random_instances(0)
    results[0]["image_id"] = "x"
    with pytest.raises(ValueError, match=r"1 predicted image\(s\) are not in the JSON.*\['x'\]"):
        count_precision(ground_truth, results, "bbox", "pycocotools")


@pytest.mark.parametrize(
    ("compiled", "module", "expected"),
    [(True, 1, "detectron2"), (False, 1, "hotcoco"), (False, None, "pycocotools")],
)
def test_the_fastest_backend_at_hand_is_chosen(monkeypatch, compiled, module, expected):
    monkeypatch.setattr(instances, "has_compiled_ops", lambda: compiled)
    # None makes the import fail.
    monkeypatch.setitem(sys.modules, "hotcoco", module)
    assert choose_backend() == expected
