import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from detr_d2.register import register_dataset


def test_records_and_metadata_are_there(tiny_set, register):
    name = register(**tiny_set.paths())

    assert [r["image_id"] for r in DatasetCatalog.get(name)] == [7, 8, 9]
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["pipe", "brick", "sky", "soil"]
    assert metadata.stuff_classes == metadata.thing_classes
    assert metadata.thing_dataset_id_to_contiguous_id == {2: 0, 9: 1}
    assert metadata.stuff_dataset_id_to_contiguous_id == {5: 2, 40: 3}
    assert len(metadata.thing_colors) == len(metadata.stuff_colors) == 4
    assert metadata.evaluator_type == "coco_panoptic_seg"
    assert metadata.ignore_label == 255
    assert metadata.label_divisor == 1000
    assert metadata.image_root == str(tiny_set.root / "images")
    assert metadata.panoptic_root == str(tiny_set.root / "panoptic")
    assert metadata.panoptic_json == str(tiny_set.json_path)
    assert not hasattr(metadata, "json_file")


def test_instances_json_becomes_json_file(tiny_set, register):
    name = register(**tiny_set.paths(), instances_json="boxes.json")

    assert MetadataCatalog.get(name).json_file == "boxes.json"


def test_with_categories_given_no_file_is_opened_until_it_is_needed(tiny_set, register):
    tiny_set.json_path.unlink()

    name = register(**tiny_set.paths(), categories=tiny_set.content["categories"])

    assert len(MetadataCatalog.get(name).thing_classes) == 4
    with pytest.raises(FileNotFoundError, match=r"panoptic\.json"):
        DatasetCatalog.get(name)


def test_categories_given_must_agree_with_the_file(tiny_set, register):
    name = register(**tiny_set.paths(), categories=tiny_set.content["categories"][:3])

    with pytest.raises(ValueError, match="differ from those given"):
        DatasetCatalog.get(name)


def test_the_same_again_is_fine_and_other_content_is_not(tiny_set, register):
    name = register(**tiny_set.paths())
    # Detectron2's box evaluator leaves a key of its own behind.
    MetadataCatalog.get(name).json_file = "cache.json"

    register_dataset(name, **tiny_set.paths())

    with pytest.raises(ValueError, match=f"'{name}' is registered already.*image_root"):
        register_dataset(name, **{**tiny_set.paths(), "image_root": "elsewhere"})
    fewer = tiny_set.content["categories"][:3]
    with pytest.raises(ValueError, match="thing_classes"):
        register_dataset(name, **tiny_set.paths(), categories=fewer)
    assert MetadataCatalog.get(name).image_root == str(tiny_set.root / "images")


def test_a_name_of_detectron2s_own_is_not_taken_over(tiny_set):
    with pytest.raises(ValueError, match="coco_2017_val"):
        register_dataset("coco_2017_val", **tiny_set.paths())


def test_wrong_categories_are_rejected_at_once(tiny_set, register):
    wrong = [{**tiny_set.content["categories"][0], "isthing": 3}]

    with pytest.raises(ValueError, match=r"panoptic.json: wrong categories:\n.*isthing 3"):
        register(**tiny_set.paths(), categories=wrong)


def test_a_few_pngs_are_looked_at_when_records_are_loaded(tiny_set, register, caplog):
    tiny_set.content["annotations"][0]["segments_info"][0]["area"] += 1
    tiny_set.write()
    DatasetCatalog.get(register(**tiny_set.paths()))
    assert "a.png: segment 5: wrong area" in caplog.text
    assert "tools/check_dataset.py" in caplog.text
