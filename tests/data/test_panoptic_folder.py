import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image

from detr_d2.data import coco_writer
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import PanopticFolder
from detr_d2.data.image_ids import ImageIds
from detr_d2.ops.panoptic_ids import rgb_to_id

# Contiguous: barrel 0, sky 1.
TABLE = CategoryTable(
    [
        {"id": 30, "name": "sky", "isthing": 0, "color": [9, 9, 9]},
        {"id": 70, "name": "barrel", "isthing": 1, "color": [5, 5, 5]},
    ]
)


def prediction(rows):
    """Sky with id 1 and a barrel with id 2 that is `rows` rows high."""
    ids = np.full((6, 8), 1, np.int32)
    ids[:rows, 2:5] = 2
    ids[:, 7] = 0
    return ids, [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 0}]


def test_a_written_set_is_a_sound_data_set(tmp_path, register):
    folder = PanopticFolder(tmp_path / "pngs", TABLE)
    folder.add("deep/a.jpg", *prediction(2))
    folder.add("b.jpg", *prediction(4))
    folder.save()
    for name in ("deep/a.jpg", "b.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)

    name = register(
        image_root=tmp_path / "images",
        panoptic_root=tmp_path / "pngs" / "panoptic",
        panoptic_json=tmp_path / "pngs" / "panoptic.json",
    )
    first, second = DatasetCatalog.get(name)

    assert [s["area"] for s in first["segments_info"]] == [6 * 7 - 6, 6]
    assert [s["category_id"] for s in second["segments_info"]] == [1, 0]
    ids = rgb_to_id(np.asarray(Image.open(first["pan_seg_file_name"])))
    assert (ids == prediction(2)[0]).all()
    content = json.loads((tmp_path / "pngs" / "panoptic.json").read_text())
    listed = content["annotations"][0]["segments_info"]
    assert [s["category_id"] for s in listed] == [30, 70]


def test_images_whose_names_have_dots_get_a_png_each(tmp_path):
    folder = PanopticFolder(tmp_path, TABLE)
    names = ["2024.05.01 site.jpg", "2024.05.02 site.jpg", "cam.1/a.jpg"]
    for name in names:
        folder.add(name, *prediction(2))
    pngs = sorted(p.relative_to(tmp_path / "panoptic") for p in tmp_path.rglob("*.png"))
    assert [p.as_posix() for p in pngs] == [
        "2024.05.01 site.png",
        "2024.05.02 site.png",
        "cam.1/a.png",
    ]


def test_a_resumed_run_goes_on_and_a_image_done_again_replaces_itself(tmp_path):
    first = PanopticFolder(tmp_path, TABLE)
    first.add("a.jpg", *prediction(2))
    first.save()

    second = PanopticFolder(tmp_path, TABLE, resume=True)
    assert "a.jpg" in second
    assert "b.jpg" not in second
    second.add("b.jpg", *prediction(3))
    second.add("a.jpg", *prediction(5))
    second.save()

    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert [i["file_name"] for i in content["images"]] == ["a.jpg", "b.jpg"]
    ids = [i["id"] for i in content["images"]]
    assert [a["image_id"] for a in content["annotations"]] == ids and ids[0] != ids[1]
    assert content["annotations"][0]["segments_info"][1]["area"] == 15
    assert "a.jpg" not in PanopticFolder(tmp_path, TABLE), "not resumed"

    (tmp_path / "panoptic" / "a.png").unlink()
    again = PanopticFolder(tmp_path, TABLE, resume=True)
    assert "a.jpg" not in again and "b.jpg" in again


def test_scores_and_the_ids_of_a_set_are_stored(tmp_path):
    (tmp_path / "set.json").write_text('{"images": [{"id": 700, "file_name": "city/a.jpg"}]}')
    folder = PanopticFolder(tmp_path, TABLE, image_ids=ImageIds(tmp_path / "set.json"))
    ids, (sky, barrel) = prediction(2)
    folder.add("a.jpg", ids, [{**sky, "score": 0.91236}, barrel])
    folder.save()
    content = json.loads((tmp_path / "panoptic.json").read_text())
    (image,), (annotation,) = content["images"], content["annotations"]
    assert image == {"id": 700, "file_name": "city/a.jpg", "height": 6, "width": 8}
    assert (annotation["image_id"], annotation["file_name"]) == (700, "city/a.png")
    assert (tmp_path / "panoptic/city/a.png").is_file()
    first, second = annotation["segments_info"]
    assert first["score"] == 0.9124 and "score" not in second


@pytest.mark.parametrize("resume", [False, True])
def test_ground_truth_is_never_replaced(tmp_path, resume):
    (tmp_path / "panoptic.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ValueError, match=r"panoptic\.json was not written by a model"):
        PanopticFolder(tmp_path, TABLE, resume=resume)


def test_it_is_saved_now_and_then(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(coco_writer.time, "monotonic", lambda: now[0])
    folder = PanopticFolder(tmp_path, TABLE)

    def listed():
        content = json.loads((tmp_path / "panoptic.json").read_text())
        return [image["file_name"] for image in content["images"]]

    folder.add("a.jpg", *prediction(2))
    now[0] += 30
    folder.add("b.jpg", *prediction(2))
    assert not (tmp_path / "panoptic.json").exists()
    now[0] += 1
    folder.add("c.jpg", *prediction(2))
    assert listed() == ["a.jpg", "b.jpg", "c.jpg"]
    # Thirty seconds from the last time.
    now[0] += 30
    folder.add("d.jpg", *prediction(2))
    assert len(listed()) == 3
    now[0] += 1
    folder.add("e.jpg", *prediction(2))
    assert len(listed()) == 5


def test_a_score_of_0_is_one(tmp_path):
    folder = PanopticFolder(tmp_path, TABLE)
    ids, (sky, barrel) = prediction(2)
    folder.add("a.jpg", ids, [{**sky, "score": 0.0}, barrel])
    folder.save()
    (annotation,) = json.loads((tmp_path / "panoptic.json").read_text())["annotations"]
    assert [s.get("score") for s in annotation["segments_info"]] == [0.0, None]
