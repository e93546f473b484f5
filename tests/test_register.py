from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from detr_d2.conversion import cache
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.splits import Split
from detr_d2.register import register_dataset, register_masks


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


@pytest.fixture
def conversions(tiny_set, monkeypatch):
    """The arguments of every conversion, each of which gives the tiny set."""
    found = []
    paths = tiny_set.paths()
    places = [str(paths[key]) for key in ("image_root", "panoptic_root", "panoptic_json")]
    monkeypatch.setattr(
        cache, "convert_into_cache", lambda *rest: (found.append(rest), tuple(places))[1]
    )
    return found


def test_masks_are_converted_with_all_that_was_asked_for(register, conversions, tmp_path):
    rules, split, place = Rules(min_area=3), Split(0.5, seed=4), tmp_path / "cache"
    more = {"rules": rules, "split": split, "part": "val", "cache": place, "workers": 3}
    asked = {**more, "annotation_format": "labelme", "records": "instances", "folder": "nuts"}
    name = register(register_masks, **asked)
    assert conversions == [(name, "labelme", {"folder": "nuts"}, rules, split, "val", place, 3)]
    assert MetadataCatalog.get(name).evaluator_type == "coco"
    assert Path(MetadataCatalog.get(name).json_file).is_relative_to(place)


def test_by_default_masks_are_one_set_of_panoptic_records(register, conversions, tiny_set):
    name = register(register_masks, annotation_format="labelme")
    assert conversions == [(name, "labelme", {}, None, None, None, None, 1)]
    metadata = MetadataCatalog.get(name)
    assert {key: metadata.get(key) for key in tiny_set.paths()} == {
        key: str(path) for key, path in tiny_set.paths().items()
    }
    assert metadata.evaluator_type == "coco_panoptic_seg"


def test_metadata_of_somebody_elses_that_agree_are_kept(tiny_set, register, request):
    """Metadata may be there before the records are, as after MetadataCatalog.get(name).set()."""
    MetadataCatalog.get(f"test_{request.node.name}").set(ignore_label=255, note="mine")
    metadata = MetadataCatalog.get(register(**tiny_set.paths()))
    assert metadata.note == "mine" and metadata.label_divisor == 1000
    assert len(DatasetCatalog.get(metadata.name)) == 3


def test_metadata_of_somebody_elses_that_differ_are_an_error(tiny_set, register, request):
    name = f"test_{request.node.name}"
    MetadataCatalog.get(name).set(ignore_label=0)
    with pytest.raises(ValueError, match=r"other content \(ignore_label: 0 -> 255\); use another"):
        register(**tiny_set.paths())
    assert name not in DatasetCatalog.list()


def test_an_unknown_kind_of_records_derives_nothing(tiny_set, register, tmp_path):
    with pytest.raises(ValueError, match=r"records 'boxes', allowed: \['panoptic', 'with_sem_seg'"):
        register(**tiny_set.paths(), records="boxes", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_first_and_last_records_are_among_those_looked_at(tiny_set, register, caplog):
    """Of nine records four are: 1, 4, 6 (5.3 rounded) and 9, counted from 1."""
    images, annotations = [], []
    for number in range(9):
        for folder, suffix in (("images", "jpg"), ("panoptic", "png")):
            source = tiny_set.root / folder / f"a.{suffix}"
            source.with_name(f"x{number}.{suffix}").write_bytes(source.read_bytes())
        images.append(
            {**tiny_set.content["images"][2], "id": number, "file_name": f"x{number}.jpg"}
        )
        segments = [{**s, "area": 1} for s in tiny_set.content["annotations"][0]["segments_info"]]
        entry = {"image_id": number, "file_name": f"x{number}.png", "segments_info": segments}
        annotations.append(entry)
    tiny_set.content |= {"images": images, "annotations": annotations}
    tiny_set.write()
    DatasetCatalog.get(register(**tiny_set.paths()))
    named = {Path(r.getMessage().split(":")[0]).name for r in caplog.records}
    assert named == {"x0.png", "x3.png", "x5.png", "x8.png"}


def test_a_key_that_the_first_registration_did_not_have_is_other_content(tiny_set, register):
    register(**tiny_set.paths())
    with pytest.raises(ValueError, match=r"other content \(json_file: None -> 'boxes\.json'\)"):
        register(**tiny_set.paths(), instances_json="boxes.json")
