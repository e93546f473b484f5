"""`run_onnx.py` as a user starts it: without torch and Detectron2, from files to files."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.transforms import ResizeShortestEdge
from PIL import Image

from detr_d2.engine import Predictor
from detr_d2.ops.panoptic_ids import read_ids

CLEAN = """
import runpy, sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "detectron2", "detr_d2", "cv2", "onnx", "scipy"):
            raise ImportError(f"{name} must not be needed")
sys.meta_path.insert(0, Forbidden())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def found(exported):
    images = sorted(str(path) for path in (exported / "images").iterdir())
    output = exported / "found"
    script = exported / "onnx" / "run_onnx.py"
    command = [sys.executable, "-I", "-c", CLEAN, str(script), "--output", str(output), *images]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=exported)
    assert ran.returncode == 0, ran.stderr
    return output


@pytest.fixture(scope="module")
def expected(exported):
    predictor = Predictor.from_run(exported / "run")
    predictor.save_coco_panoptic(exported / "expected", [exported / "images"])
    return exported / "expected"


def test_same_files_as_the_predictor(found, expected):
    ours, theirs = (json.loads((f / "panoptic.json").read_text()) for f in (found, expected))
    assert ours["images"] == theirs["images"] and ours["categories"] == theirs["categories"]
    for own, wanted in zip(ours["annotations"], theirs["annotations"], strict=True):
        assert (own["image_id"], own["file_name"]) == (wanted["image_id"], wanted["file_name"])
        ids, wanted_ids = (read_ids(f / "panoptic" / own["file_name"]) for f in (found, expected))
        assert (ids == wanted_ids).mean() > 0.998, own["file_name"]
        pairs = zip(own["segments_info"], wanted["segments_info"], strict=True)
        for segment, other in pairs:
            assert segment.keys() >= other.keys()
            assert (segment["id"], segment["category_id"]) == (other["id"], other["category_id"])
            assert segment["area"] == (ids == segment["id"]).sum()
            ys, xs = (ids == segment["id"]).nonzero()
            x, y, width, height = segment["bbox"]
            assert (x, y, x + width - 1, y + height - 1) == (xs.min(), ys.min(), xs.max(), ys.max())


def test_panopticapi_reads_what_was_written(found, expected):
    evaluation = pytest.importorskip("panopticapi.evaluation")
    jsons = [str(folder / "panoptic.json") for folder in (expected, found)]
    result = evaluation.pq_compute(*jsons, str(expected / "panoptic"), str(found / "panoptic"))
    assert result["All"]["pq"] > 0.97


def test_pictures_have_the_size_of_the_upright_image(found):
    assert Image.open(found / "pictures" / "tall.jpg").size == (150, 80), "turned by EXIF"
    assert Image.open(found / "pictures" / "wide.jpg").size == (130, 60)


def test_no_temporary_file_is_left(found):
    assert not [path for path in found.rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("min_size", [0, 96, 800])
@pytest.mark.parametrize("size", [(31, 47), (333, 500), (90, 11), (37, 37), (20, 700), (601, 600)])
def test_resize_is_that_of_detectron2(exported, runner, min_size, size):
    model = runner.PanopticModel(exported / "onnx")
    model.settings.update(min_size=min_size, max_size=1333)
    array = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    transform = ResizeShortestEdge(min_size, 1333, "choice").get_transform(array)
    assert np.array_equal(
        model.resized(Image.fromarray(array)), transform.apply_image(array.copy())
    )


def test_large_pictures_are_coloured_a_few_rows_at_a_time(runner):
    """Of 6000 x 4000 pixels all at once would take 2.3 GB."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (1001, 900, 3), dtype=np.uint8)
    ids = np.repeat(generator.integers(0, 3, (1001, 1), dtype=np.int32), 900, 1)
    colors = [[200, 150, 90], [30, 60, 250]]
    categories = [{"id": i, "color": color} for i, color in enumerate(colors)]
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1}]
    tracemalloc.start()
    found = np.asarray(runner.render(Image.fromarray(pixels), ids, segments, categories))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * pixels.nbytes
    expected = (0.45 * pixels + 0.55 * np.array([[34, 36, 40], *colors])[ids]).astype(np.uint8)
    expected[1:][ids[1:] != ids[:-1]] = 255
    assert np.array_equal(found, expected)


def test_ids_are_those_of_a_set(runner, tmp_path):
    images = [{"id": 42, "file_name": "city/b.jpg"}, {"id": 7, "file_name": "a.jpg", "width": 9}]
    (tmp_path / "set.json").write_text(json.dumps({"images": images}))
    paths = [Path("new/a.jpg"), Path("b.jpg")]
    found = runner.images_of(paths, str(tmp_path / "set.json"))
    assert found == [{"id": 7, "file_name": "a.jpg"}, {"id": 42, "file_name": "city/b.jpg"}]
    with pytest.raises(ValueError, match=r"set\.json has 0 images of the name c\.jpg"):
        runner.images_of([Path("c.jpg")], str(tmp_path / "set.json"))


def test_two_images_of_one_name_are_rejected(exported):
    image = str(exported / "images" / "odd.jpg")
    script = str(exported / "onnx" / "run_onnx.py")
    command = [sys.executable, script, "--output", str(exported / "twice"), image, image]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and "same name" in ran.stderr
    assert not (exported / "twice").exists()
