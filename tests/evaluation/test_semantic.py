import re

import numpy as np
import pytest
from random_panoptic import save_ids

from detr_d2.evaluation.semantic import semantic_labels


def test_labels_by_hand():
    ids = np.array([[0, 70000, 5], [5, 9, 70000]])
    labels = semantic_labels(ids, {70000: 1, 5: 0}, void=3)
    # 0 is void, and so is 9, which has no class.
    assert labels.tolist() == [[3, 1, 0], [0, 3, 1]]


def test_void_pixels_do_not_count_and_others_do(tiny_set, register, evaluate):
    name = register(**tiny_set.paths())

    def change(rows, columns):
        def _change(record, output):
            if record["image_id"] == 7:
                output["sem_seg"][:, rows, columns] = 0
                output["sem_seg"][0, rows, columns] = 1
            return output

        return evaluate(name, ["semantic"], _change)["sem_seg"]

    void_column = change(slice(None), 23)
    assert void_column["mIoU"] == pytest.approx(100)
    sky = change(slice(0, 4), slice(0, 23))
    # 4 of 10 rows of sky, 23 columns wide, less brick (rows 8, 9) and crowd (row 9).
    total = 10 * 23 - 2 * 6 - 6
    assert sky["IoU-sky"] == pytest.approx(100 * (total - 4 * 23) / total)
    assert sky["IoU-brick"] == pytest.approx(100)


def test_predictions_are_written_into_the_folder_of_the_evaluation(
    tiny_set, register, evaluate, tmp_path
):
    evaluate(register(**tiny_set.paths()), ["semantic"])
    names = {path.name for path in (tmp_path / "inference").iterdir()}
    assert {"sem_seg_predictions.json", "sem_seg_evaluation.pth"} <= names


def test_each_class_has_its_own_figures(tiny_set, register, evaluate):
    """Second image: a pipe of 15 pixels on 265 of soil; taken for brick, of which none is there."""

    def pipe_as_brick(record, output):
        if record["image_id"] == 8:
            output["sem_seg"][[0, 1]] = output["sem_seg"][[1, 0]]
        return output

    figures = evaluate(register(**tiny_set.paths()), ["semantic"], pipe_as_brick)["sem_seg"]
    # First image: 36 pixels of a crowd of pipes and 30 of brick, both found.
    assert figures["IoU-pipe"] == pytest.approx(100 * 36 / (36 + 15))
    assert figures["ACC-pipe"] == pytest.approx(100 * 36 / (36 + 15))
    assert figures["IoU-brick"] == pytest.approx(100 * 30 / (30 + 15))
    assert figures["ACC-brick"] == pytest.approx(100)
    assert (figures["IoU-sky"], figures["IoU-soil"]) == (100, 100)
    assert figures["mIoU"] == pytest.approx((figures["IoU-pipe"] + figures["IoU-brick"] + 200) / 4)


def test_a_class_that_no_image_shows_is_nan_and_not_averaged(tiny_set, register, evaluate):
    second = tiny_set.content["annotations"][1]
    for annotation in tiny_set.content["annotations"]:
        if annotation is not second:
            annotation["segments_info"] = []
            png = tiny_set.root / "panoptic" / annotation["file_name"]
            save_ids(png, np.zeros_like(tiny_set.id_maps[png.stem]))
    tiny_set.write()
    figures = evaluate(register(**tiny_set.paths()), ["semantic"])["sem_seg"]
    assert np.isnan([figures["IoU-brick"], figures["IoU-sky"]]).all()
    assert figures["mIoU"] == pytest.approx(100)


def test_the_last_of_256_classes_is_not_void(tiny_set, register, evaluate):
    categories = [{"id": i, "name": f"c{i}", "isthing": 0} for i in range(1, 257)]
    tiny_set.content["categories"] = categories
    for annotation in tiny_set.content["annotations"]:
        for segment in annotation["segments_info"]:
            segment |= {"category_id": 256 if segment["id"] == 5 else 1, "iscrowd": 0}
    tiny_set.write()
    figures = evaluate(register(**tiny_set.paths()), ["semantic"])["sem_seg"]
    assert (figures["IoU-c256"], figures["IoU-c1"]) == (100, 100)


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        (np.s_[:3], (3, 16, 24)),
        (np.s_[:, :5], (4, 5, 24)),
        (np.s_[..., :22], (4, 16, 22)),
    ],
)
def test_scores_of_another_shape_are_named(tiny_set, register, evaluate, part, shape):
    def cut(record, output):
        return {"sem_seg": output["sem_seg"][part]}

    found, expected = (re.escape(str(size)) for size in (shape, (4, 16, 24)))
    with pytest.raises(ValueError, match=rf"a\.jpg: .* sem_seg is {found}, expected .* {expected}"):
        evaluate(register(**tiny_set.paths()), ["semantic"], cut)
