"""Mapillary Vistas: instance numbers, versions, panoptic files."""

import numpy as np
import pytest
from annotation_files import MAPILLARY, SIZE, mapillary_instances, write
from converted_sets import save_image, save_mask
from random_panoptic import save_ids

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


def test_mapillary_instances(tmp_path, converted):
    """Label 0 has instances too, and its first instance is number 0."""
    save_image(tmp_path / "training/images/a_1.jpg", SIZE)
    write(tmp_path / "config_v2.0.json", MAPILLARY)
    save_mask(tmp_path / "training/v2.0/instances/a_1.png", mapillary_instances())
    result = converted("mapillary", ALL, folder=str(tmp_path))
    numbers = mapillary_instances()
    birds = [("animal--bird", (numbers == n).tobytes()) for n in (0, 1)]
    assert result.masks("a_1.jpg") == sorted([*birds, ("nature--sky", (numbers == 256).tobytes())])
    assert {c["name"]: c["isthing"] for c in result.content["categories"]} == {
        "animal--bird": 1,
        "nature--sky": 0,
    }
    (tmp_path / "training/v1.2").mkdir()
    with pytest.raises(ValueError, match=r"say which version \(--version\)"):
        open_format("mapillary", folder=str(tmp_path))


def streets(root, version: str = "v2.0", **config) -> dict:
    """A part of Mapillary Vistas with one image and instance PNGs."""
    save_image(root / "training/images/a.jpg", SIZE)
    save_mask(root / "training" / version / "instances/a.png", mapillary_instances())
    write(root / "config_v2.0.json", {**MAPILLARY, **config})
    return {"folder": str(root)}


def test_the_version_of_mapillary(tmp_path):
    """With two, one must be named; its own configuration comes first."""
    options = streets(tmp_path)
    labels = [{"name": "old", "instances": False, "evaluate": True}] * 3
    write(tmp_path / "config_v1.2.json", {**MAPILLARY, "labels": labels})
    assert open_format("mapillary", **options).classes[0].name == "animal--bird"
    with pytest.raises(ValueError, match=r"no version 'v1\.2', only \['v2\.0'\]"):
        open_format("mapillary", **options, version="v1.2")
    streets(tmp_path, "v1.2")
    with pytest.raises(ValueError, match=r"--version\): \['v1\.2', 'v2\.0'\]"):
        open_format("mapillary", **options)
    names = [
        open_format("mapillary", **options, version=v).classes[0].name for v in ("v1.2", "v2.0")
    ]
    assert names == ["old", "animal--bird"]


def test_mapillary_without_folder_of_a_version(tmp_path):
    streets(tmp_path)
    (tmp_path / "training/v2.0/instances").rename(tmp_path / "training/instances")
    (tmp_path / "training/v2.0").rmdir()
    save_image(tmp_path / "training/images/b.jpg", SIZE)
    for version in (None, "v2.0"):
        opened = open_format("mapillary", folder=str(tmp_path), version=version)
        mask = f"{tmp_path}/training/instances/a.png"
        assert [sample.inputs for sample in opened.samples] == [(mask,)]
        (item,) = opened.skipped
        assert item.name == f"{tmp_path}/training/images/b.jpg"
        assert item.reason == f"there is no {tmp_path}/training/instances/b.png"
    with pytest.raises(FileNotFoundError, match="validation: has neither panoptic nor instances"):
        open_format("mapillary", folder=str(tmp_path), part="validation")
    (tmp_path / "config_v2.0.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config_training\.json: no such file, nor"):
        open_format("mapillary", folder=str(tmp_path))


@pytest.mark.parametrize("labels", [5, [5], [{"name": "a", "instances": True}]])
def test_a_configuration_of_mapillary_that_is_none_is_named(tmp_path, labels):
    with pytest.raises(ValueError, match=r"config_v2\.0\.json: no list of labels with name, inst"):
        open_format("mapillary", **streets(tmp_path, labels=labels))


def test_a_number_of_mapillary_without_label_is_named(tmp_path, converted):
    options = streets(tmp_path)
    numbers = np.full(SIZE, 3 * 256 - 1, np.uint16)
    save_mask(tmp_path / "training/v2.0/instances/a.png", numbers)
    assert converted("mapillary", **options).segments("a.jpg") == []
    save_mask(tmp_path / "training/v2.0/instances/a.png", numbers + 1)
    with pytest.raises(ValueError, match=r"a\.png: number 768 is of label 3, which is none"):
        converted("mapillary", **options)


def test_panoptic_files_of_mapillary_come_first(tmp_path, converted):
    """They lie with their JSON; turned and scaled as the others."""
    options = streets(tmp_path)
    truth = tmp_path / "training/v2.0/panoptic"
    save_ids(truth / "a.png", np.full((10, 15), 9, np.int32))
    annotation = {"image_id": "a", "file_name": "a.png"}
    content = {
        "images": [{"id": "a", "file_name": "a.jpg"}, {"id": "b", "file_name": "b.jpg"}],
        "annotations": [
            {**annotation, "segments_info": [{"id": 9, "category_id": 3, "iscrowd": 1}]}
        ],
        "categories": [{"id": 3, "name": "bird", "isthing": 1}],
    }
    write(truth / "panoptic_2020.json", content)
    with pytest.raises(ValueError, match="15x10 pixels, but its image has 30x20"):
        converted("mapillary", **options)
    result = converted("mapillary", **options, resize=True)
    assert [(s["area"], s["iscrowd"]) for s in result.segments("a.jpg")] == [(600, 1)]
    (item,) = result.report.skipped
    assert (item.name, item.reason) == ("b.jpg", "no annotation belongs to it")
