"""Counts that can be known of the real data, and agreement of its different annotation formats."""

import json
from pathlib import Path

import numpy as np
import pytest
from converted_sets import Result
from PIL import Image

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules
from detr_d2.validation.check import Checker, SetFiles


@pytest.fixture
def data(test_data) -> Path:
    return Path(test_data)


@pytest.fixture
def clean(tmp_path):
    """Convert, check that nothing is wrong, and read the result."""

    def convert(name: str, annotation_format: str, rules: Rules | None = None, **options) -> Result:
        out = tmp_path / name
        options = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
        result = Result(
            out, convert_set(open_format(annotation_format, **options), out, rules=rules)
        )
        files = SetFiles(str(out / "panoptic.json"), str(out / "images"), str(out / "panoptic"))
        assert [f for f in Checker(files).run() if f.severity == "error"] == []
        return result

    return convert


def some(folder: Path, target: Path, names: list[str]) -> Path:
    """A folder with links to some of the files."""
    target.mkdir()
    for name in names:
        (target / name).symlink_to(folder / name)
    return target


def test_nuts_are_the_same_from_labelme_and_from_coco(data, clean):
    nuts = data / "nuts_labelme_and_coco"
    rules = Rules(background_class="table")
    first = clean("labelme", "labelme", rules, folder=nuts / "labelme")
    coco = nuts / "coco/data"
    second = clean(
        "coco", "coco-json", rules, annotations=coco / "trainval.json", images=coco / "images"
    )
    for result in (first, second):
        counts = {"date": 71, "hazelnut": 53, "fig": 41, "table": 18}
        assert result.report.segments == counts
        assert (result.report.images_out, result.report.skipped) == (18, [])
    differing = [
        (first.labels(f"images/{name}") != second.labels(name)).mean() for name in second.images
    ]
    assert max(differing) < 0.01


def test_cracks_are_only_255(data, clean, tmp_path):
    """097 and 101 hold large areas of 3 and 4 that are enclosed by cracks."""
    root, numbers = data / "crack_binary_png/CrackForest", ["001", "097", "101"]
    images = some(root / "Images", tmp_path / "images", [f"{n}.jpg" for n in numbers])
    masks = some(root / "Masks", tmp_path / "masks", [f"{n}_label.PNG" for n in numbers])
    result = clean(
        "cracks", "binary-masks", Rules(background_class="road"),
        images=images, masks=masks, pattern="{image}_label", label="crack",
    )  # fmt: skip
    for number in numbers:
        ground_truth = np.asarray(Image.open(masks / f"{number}_label.PNG")) == 255
        assert ((result.labels(f"{number}.jpg") == "crack") == ground_truth).all()
    assert result.report.void_share == 0


def test_camvid_keeps_the_sky_and_leaves_11_void(data, clean, tmp_path):
    root = data / "camvid_semantic_png/CamVid"
    names = sorted(p.name for p in (root / "train").iterdir())[::40]
    classes = "Sky,Building,Pole,Road,Pavement,Tree,SignSymbol,Fence,Car,Pedestrian,Bicyclist"
    values = ",".join(f"{i}={name}" for i, name in enumerate(classes.split(",")))
    result = clean(
        "camvid", "semantic-png", Rules(min_area=0), values=values, void=(11,),
        images=some(root / "train", tmp_path / "images", names),
        masks=some(root / "trainannot", tmp_path / "masks", names),
        things=("Car", "Pedestrian", "Bicyclist"),
    )  # fmt: skip
    for name in names:
        ground_truth = np.asarray(Image.open(root / "trainannot" / name))
        labels = result.labels(name)
        assert ((labels == "") == (ground_truth == 11)).all()
        assert ((labels == "Sky") == (ground_truth == 0)).all()
        assert ((labels == "Car") == (ground_truth == 8)).all()


def test_labelme_examples_agree_with_their_exports(data, clean):
    """Different programs draw the edge of a polygon differently: 1 % of the pixels."""
    root = data / "labelme_examples/examples/instance_segmentation"
    rules = Rules(order="annotation", min_area=0)
    origin = clean("labelme", "labelme", rules, folder=root / "data_annotated")
    coco, voc = root / "data_dataset_coco", root / "data_dataset_voc"
    exports = {
        "coco": clean(
            "coco", "coco-json", rules, annotations=coco / "annotations.json", images=coco
        ),
        "voc": clean(
            "voc", "instance-ids", rules, images=voc / "JPEGImages",
            masks=voc / "SegmentationObject", semantic=voc / "SegmentationClass",
            values=str(voc / "class_names.txt"), void=(255,),
        ),
    }  # fmt: skip
    assert sum(origin.report.segments.values()) == 12
    for name, export in exports.items():
        present = {k: n for k, n in export.report.segments.items() if n}
        assert present == origin.report.segments
        for image in origin.images:
            other = image if name == "voc" else f"JPEGImages/{image}"
            # The COCO export does not know __ignore__.
            differing = origin.labels(image) != export.labels(other)
            assert differing.mean() < 0.015, (name, image)


def test_labelme_primitives_and_an_embedded_image(data, clean):
    root = data / "labelme_examples/examples"
    primitives = clean("primitives", "labelme", folder=root / "primitives")
    assert sum(primitives.report.segments.values()) == 8
    tutorial = clean("tutorial", "labelme", folder=root / "tutorial", stuff=("shelf",))
    assert tutorial.report.images_out == 1
    assert sum(tutorial.report.segments.values()) == 4


def test_facade_drops_the_placeholder_and_finds_images_in_the_subfolder(data, clean, tmp_path):
    """Three images of the folder and three of its subfolder."""
    root = data / "facade_coco_polygons/valid"
    content = json.loads((root / "_annotations.coco.json").read_text())
    inside = {p.name for p in (root / "images").iterdir()}
    images = sorted(content["images"], key=lambda i: i["file_name"] in inside)
    content["images"] = images[:3] + images[-3:]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    path = tmp_path / "some.json"
    path.write_text(json.dumps(content))
    result = clean(
        "facade", "coco-json", annotations=path, images=root,
        stuff=("facade", "street", "vegetation"),
    )  # fmt: skip
    assert result.report.images_out == 6
    assert sorted(result.names) == list(range(1, 11))
    assert result.names[3] == "facade"
    windows = sum(a["category_id"] == 10 for a in content["annotations"])
    assert result.report.segments["window"] == windows


def test_coco_panoptic_samples_stay_what_they_are(data, clean):
    root = data / "coco_panoptic_samples/panopticapi/sample_data"
    json_path = root / "panoptic_examples.json"
    result = clean(
        "panoptic", "coco-panoptic", panoptic_json=json_path,
        images=root / "input_images", masks=root / "panoptic_examples",
    )  # fmt: skip
    areas = [
        sorted((s["category_id"], s["area"]) for s in a["segments_info"])
        for content in (result.content, json.loads(json_path.read_text()))
        for a in sorted(content["annotations"], key=lambda a: a["image_id"])
    ]
    assert areas[:2] == areas[2:]
    assert sum(len(found) for found in areas[:2]) == 50
