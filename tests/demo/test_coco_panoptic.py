"""Predictions of the demo, scored by panopticapi's own program."""

import json
import subprocess
import sys

import numpy as np
import pytest

from detr_d2.evaluation.pq import panoptic_quality
from detr_d2.ops.panoptic_ids import read_ids

# In another order than that of the names, none of them consecutive.
IDS = {"deep/c.png": 5, "a.png": 700, "b.png": 41}


@pytest.fixture
def ground_truth(demo, images, tmp_path):
    """What the model finds, but in b.png one class is another, and in a.png a half is missing."""
    from detr_d2.data.coco_writer import describe_segments, write_id_png

    assert demo("--input", images, "--coco-panoptic", tmp_path / "first") == 0
    content = json.loads((tmp_path / "first/panoptic.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    by_name = {names[a["image_id"]]: a for a in content["annotations"]}
    annotations = []
    for name, image_id in IDS.items():
        ids = read_ids(tmp_path / "first/panoptic" / by_name[name]["file_name"])
        classes = {s["id"]: s["category_id"] for s in by_name[name]["segments_info"]}
        if name == "b.png":
            classes[max(classes)] = 90
        if name == "a.png":
            ids[: ids.shape[0] // 2] = 0
        png = f"gt_{image_id}.png"
        write_id_png(tmp_path / "truth" / png, ids)
        segments = describe_segments(ids, classes)
        annotations.append({"image_id": image_id, "file_name": png, "segments_info": segments})
    images_list = [{**i, "id": IDS[i["file_name"]]} for i in content["images"]]
    content |= {"images": images_list, "annotations": annotations}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return tmp_path / "truth.json"


def panopticapi(ground_truth, predictions):
    """panopticapi's command line: exit status, its output, and the PQ of all classes."""
    pytest.importorskip("panopticapi.evaluation")
    command = [sys.executable, "-m", "panopticapi.evaluation"]
    command += ["--gt_json_file", str(ground_truth), "--pred_json_file", str(predictions)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [line.split("|")[1].split() for line in ran.stdout.splitlines() if "All " in line]
    return ran.returncode, ran.stdout + ran.stderr, float(rows[0][0]) if rows else None


def test_ids_of_the_set_make_panopticapi_agree_with_our_evaluator(
    demo, images, ground_truth, tmp_path
):
    out = tmp_path / "found"
    words = ("--input", images, "--coco-panoptic", out, "--ids-from", ground_truth)
    assert demo(*words) == 0

    content = json.loads((out / "panoptic.json").read_text())
    assert {image["file_name"]: image["id"] for image in content["images"]} == IDS
    ours = panoptic_quality(
        json.loads(ground_truth.read_text()),
        content["annotations"],
        str(ground_truth.with_suffix("")),
        str(out / "panoptic"),
    )
    expected = 100 * ours.average(content["categories"])["All"]["pq"]
    assert 20 < expected < 95, "the test would show nothing"
    status, text, theirs = panopticapi(ground_truth, out / "panoptic.json")
    assert status == 0, text
    assert theirs == pytest.approx(expected, abs=0.051)

    # Every segment has its score, and what the JSON lists is what the PNG shows.
    for annotation in content["annotations"]:
        shown = set(np.unique(read_ids(out / "panoptic" / annotation["file_name"]))) - {0}
        assert shown == {s["id"] for s in annotation["segments_info"]}
        assert all(0 < s["score"] <= 1 for s in annotation["segments_info"])


def test_without_the_sets_ids_panopticapi_refuses_instead_of_mixing_images(
    demo, images, ground_truth, tmp_path
):
    assert demo("--input", images, "--coco-panoptic", tmp_path / "found") == 0
    status, text, pq = panopticapi(ground_truth, tmp_path / "found/panoptic.json")
    assert status != 0 and pq is None
    assert "no prediction for the image with id: 5" in text


def test_an_image_that_the_set_does_not_have_is_named_before_the_work(
    demo, images, ground_truth, tmp_path, capsys
):
    (images / "deep/c.png").rename(images / "deep/stranger.png")
    words = ("--input", images, "--coco-panoptic", tmp_path / "f", "--ids-from", ground_truth)
    assert demo(*words) == 2
    error = capsys.readouterr().err
    assert "deep/stranger.png" in error and "no such image" in error
    assert not (tmp_path / "f").exists()
