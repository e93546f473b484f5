import csv
import os

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from detr_d2.demo.outputs import Pictures
from detr_d2.demo.rank import Rank, doubt_of
from detr_d2.visualization import Palette, save_picture
from detr_d2.visualization.video import Source


def output(scores, unlabelled=0, candidates=()):
    """A map of 100 pixels, of which the last `unlabelled` have no segment."""
    ids = torch.ones(10, 10, dtype=torch.int32)
    ids.view(-1)[100 - unlabelled :] = 0
    segments = [{"id": i + 1, "category_id": 0, "score": s} for i, s in enumerate(scores)]
    instances = Instances((10, 10))
    instances.scores = torch.tensor(candidates)
    return {"panoptic_seg": (ids, segments), "instances": instances}


def test_doubt_is_the_expected_number_of_corrections():
    doubt = doubt_of(output([0.9, 0.7], unlabelled=25), threshold=0.6)
    assert (doubt.segments, doubt.lowest_score) == (2, pytest.approx(0.7))
    assert doubt.wrong == pytest.approx(0.1 + 0.3) and doubt.missed == 0
    assert doubt.mistakes == pytest.approx(0.4 + 0.25)


def test_objects_just_below_the_threshold_may_be_missing():
    doubt = doubt_of(output([0.9], candidates=[0.9, 0.5, 0.6, 0.3, 0.11, 0.1]), threshold=0.6)
    assert doubt.missed == pytest.approx(0.5 + 0.6 + 0.3 + 0.11), "neither found nor hopeless"


def test_a_second_box_of_what_was_found_is_not_nearly_found():
    """A duplicate is no segment by DUPLICATE_IOU, but still among the instances."""
    found = output([0.9], candidates=[0.9, 0.5, 0.4, 0.3])
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [20, 0, 30, 10]]
    found["instances"].pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
    # The third is of another class, the fourth somewhere else.
    found["instances"].pred_classes = torch.tensor([0, 0, 1, 0])
    assert doubt_of(found, threshold=0.6).missed == pytest.approx(0.5 + 0.4 + 0.3)
    assert doubt_of(found, 0.6, duplicate_iou=0.5).missed == pytest.approx(0.4 + 0.3)


def test_without_segments_or_instances():
    doubt = doubt_of({"panoptic_seg": (torch.zeros(4, 5), [])}, threshold=0.5)
    assert (doubt.segments, doubt.mistakes, doubt.lowest_score) == (0, 1.0, 1.0)
    with pytest.raises(ValueError, match="needs a mask head"):
        doubt_of({"instances": Instances((4, 5))}, threshold=0.5)


def rank(folder, *found):
    """Rank images of these paths and outputs, which have nothing to do with the pixels."""
    ranking = Rank(str(folder), 0.6, None, resume=False)
    for path, result in found:
        source = Source(path, os.path.splitext(path.name)[0])
        ranking.add(source, np.zeros((10, 10, 3), np.uint8), result)
    ranking.finish()


def test_a_row_has_the_figures_rounded_and_equal_images_are_in_order_of_names(tmp_path):
    sure, unsure = output([0.98]), output([0.9, 0.66666], 25, [0.3])
    names = ("wall", "crane", "attic")
    rank(tmp_path, *zip([tmp_path / f"{n}.jpg" for n in names], (sure, unsure, sure), strict=True))
    first, *others = rows_of(tmp_path)
    assert first == {
        "rank": "1",
        "mistakes": str(round(0.1 + 0.33334 + 0.3 + 0.25, 4)),
        "segments": "2",
        "lowest_score": "0.6667",
        "missed": "0.3",
        "unlabelled": "0.25",
        "image": str(tmp_path / "crane.jpg"),
    }
    assert [row["image"] for row in others] == [str(tmp_path / f"{n}.jpg") for n in names[::-2]]
    assert [row["rank"] for row in others] == ["2", "3"]


def test_equal_images_are_in_order_of_their_places_in_the_outputs(tmp_path):
    """Two folders may be given, of which one name comes first and the other path."""
    ranking = Rank(str(tmp_path / "rank"), 0.6, None, resume=False)
    for path, stem in (("a/2.jpg", "2"), ("b/1.jpg", "1")):
        ranking.add(Source(tmp_path / path, stem), np.zeros((10, 10, 3), np.uint8), output([0.9]))
    ranking.finish()
    assert [row["image"] for row in rows_of(tmp_path / "rank")] == [
        str(tmp_path / path) for path in ("b/1.jpg", "a/2.jpg")
    ]


def test_a_picture_that_is_not_there_leaves_its_number_free(tmp_path):
    targets = {stem: tmp_path / f"o/{stem}.jpg" for stem in ("deep/a", "b", "c")}
    pictures = Pictures(targets, Palette(["crane"]), None)
    ranking = Rank(str(tmp_path / "rank"), 0.6, pictures, resume=False)
    for stem, score in (("b", 0.9), ("deep/a", 0.5), ("c", 0.7), ("d", 0.8)):
        source = Source(tmp_path / f"{stem}.png", stem)
        ranking.add(source, np.zeros((10, 10, 3), np.uint8), output([score]))
        if stem in ("deep/a", "b"):
            save_picture(targets[stem], np.zeros((4, 4, 3), np.uint8))
    ranking.finish()
    names = sorted(path.name for path in (tmp_path / "rank/pictures").iterdir())
    assert names == ["0001_deep__a.jpg", "0004_b.jpg"]


@pytest.mark.parametrize("name", ["rank.csv", "rank.txt", "pictures"])
@pytest.mark.parametrize("resume", [False, True])
def test_what_no_ranking_has_written_is_not_replaced(tmp_path, name, resume):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name} is there and no --rank has written it"):
        Rank(str(tmp_path), 0.6, None, resume)
    (tmp_path / "rank.jsonl").touch()
    Rank(str(tmp_path), 0.6, None, resume)


def test_a_path_that_is_not_utf_8_keeps_its_bytes(tmp_path):
    rank(tmp_path / "rank", (tmp_path / os.fsdecode(b"gr\xfcn.png"), output([0.9])))
    for name in ("rank.csv", "rank.txt"):
        assert b"/gr\xfcn.png" in (tmp_path / "rank" / name).read_bytes(), name


def rows_of(folder):
    with open(folder / "rank.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_lists_and_pictures_are_in_order(demo, images, tmp_path):
    words = ("--input", images, "--output", tmp_path / "out", "--rank", tmp_path / "rank")
    assert demo(*words) == 0
    rows = rows_of(tmp_path / "rank")
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    figures = [float(row["mistakes"]) for row in rows]
    assert figures == sorted(figures, reverse=True) and len(set(figures)) == 3
    paths = (tmp_path / "rank/rank.txt").read_text().splitlines()
    assert paths == [row["image"] for row in rows]
    assert set(paths) == {str(images / name) for name in ("a.png", "b.png", "deep/c.png")}
    pictures = sorted(p.name for p in (tmp_path / "rank/pictures").iterdir())
    stems = {"a.png": "a", "b.png": "b", "c.png": "deep__c"}
    assert pictures == [
        f"{number:04d}_{stems[path.rsplit('/', 1)[1]]}.jpg"
        for number, path in enumerate(paths, start=1)
    ]

    # A run that goes on knows what it has measured; without --resume it starts anew.
    (images / "b.png").unlink()
    assert demo(*words, "--resume") == 0
    assert [row["image"] for row in rows_of(tmp_path / "rank")] == paths
    assert demo(*words) == 0
    assert len(rows_of(tmp_path / "rank")) == 2


@pytest.mark.parametrize("changed", [("INSTANCE_SCORE_THRESH", "0.99"), ("INSTANCE_ON", "False")])
def test_what_was_nearly_found_counts_whatever_the_config_says(demo, images, tmp_path, changed):
    """Panoptic configs make instances of sure objects only, and none would seem to be missed."""
    key, value = changed
    words = ("--input", images, "--rank", tmp_path / "rank", "--confidence-threshold", 0.99)
    assert demo(*words, f"MODEL.DETR.{key}", value) == 0
    assert all(float(row["missed"]) > 0.1 for row in rows_of(tmp_path / "rank"))
