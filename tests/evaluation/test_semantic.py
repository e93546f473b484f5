import numpy as np
import pytest

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
