import json
import sys

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog


@pytest.fixture
def prepare(script):
    return script("prepare_coco_samples")


@pytest.mark.parametrize(("everything", "classes"), [(False, None), (True, 133)])
def test_three_images_become_one_set(prepare, test_data, tmp_path, register, everything, classes):
    prepare.prepare_coco_samples(test_data, tmp_path, all_categories=everything)

    name = register(
        image_root=tmp_path / "images",
        panoptic_root=tmp_path / "panoptic",
        panoptic_json=tmp_path / "panoptic.json",
    )
    records = DatasetCatalog.get(name)

    assert [r["image_id"] for r in records] == [142238, 439180, 39769]
    assert [(r["width"], r["height"]) for r in records] == [(640, 427), (640, 360), (640, 480)]
    assert [len(r["segments_info"]) for r in records] == [18, 32, 6]
    assert sum(s["iscrowd"] for r in records for s in r["segments_info"]) == 3
    used = {s["category_id"] for r in records for s in r["segments_info"]}
    assert len(MetadataCatalog.get(name).thing_classes) == (classes or len(used))


def test_absent_test_data_has_its_own_exit_code(prepare, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--data", str(tmp_path), "--out", str(tmp_path / "o")])

    with pytest.raises(SystemExit) as caught:
        prepare.main()

    assert caught.value.code == prepare.EXIT_NO_TEST_DATA == 3
    message = capsys.readouterr().err
    assert f"test data not found: neither {tmp_path}" in message
    assert "set DETR_D2_TEST_DATA or give --data" in message
    assert not (tmp_path / "o").exists()


def test_a_faulty_png_is_found(prepare, tmp_path, tiny_set):
    target = tmp_path / "out"
    target.mkdir()
    for folder in ("images", "panoptic"):
        (tiny_set.root / folder).rename(target / folder)
    tiny_set.content["annotations"][0]["segments_info"][2]["area"] += 1
    (target / "panoptic.json").write_text(json.dumps(tiny_set.content))

    with pytest.raises(ValueError, match=r"a\.png: segment 70000: wrong area \(JSON 31, PNG 30\)"):
        prepare._check(target, prepare.CategoryTable(tiny_set.content["categories"]))
