"""The files themselves, as the programs that will read them want them."""

import dataclasses
import json
import os
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from annotation_findings import TABLE

from detr_d2.annotation_export import WRITERS
from detr_d2.data.categories import CategoryTable


@pytest.fixture
def write(findings, tmp_path):
    """Write both images in a format; the folder."""

    def _write(name):
        writer = WRITERS[name](tmp_path / name, TABLE)
        for finding in findings:
            writer.add(finding)
        writer.finish()
        return tmp_path / name

    return _write


def test_labelme_names_the_image_by_its_path_from_there(write, findings):
    folder = write("labelme")
    content = json.loads((folder / "deep/b.json").read_text())
    assert content["imagePath"] == "../../images/deep/b.png" and content["imageData"] is None
    assert (content["imageHeight"], content["imageWidth"]) == (64, 40)
    soil, pipe = content["shapes"]
    assert (soil["label"], soil["score"], soil["group_id"]) == ("soil", 0.9, None)
    assert (pipe["label"], pipe["score"], pipe["shape_type"]) == ("pipe", 0.88, "polygon")
    # The parts of the brick are one group; a shape lies on those before it.
    shapes = json.loads((folder / "a.json").read_text())["shapes"]
    groups = [s["group_id"] for s in shapes if s["label"] == "brick"]
    assert sorted(groups, key=str) == [5, 5, None]
    areas = [polygon_area(s["points"]) for s in shapes]
    assert areas[0] == max(areas) and areas[-1] == min(areas)
    assert np.diff(areas).max() < 10, "but for what simplification adds"


def polygon_area(points):
    x, y = np.array(points).T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_labelme_itself_opens_the_file(write):
    label_file = pytest.importorskip("labelme").LabelFile
    opened = label_file(str(write("labelme") / "a.json"))
    assert len(opened.shapes) == 7 and opened.imageData is not None
    assert opened.shapes[0]["other_data"] == {"score": 0.99}


def test_pycocotools_reads_the_coco_file(write, findings, capsys):
    from pycocotools.coco import COCO

    coco = COCO(str(write("coco") / "annotations.json"))
    assert {c["name"]: c["isthing"] for c in coco.loadCats(coco.getCatIds())} == {
        "brick": 1,
        "pipe": 1,
        "sky": 0,
        "soil": 0,
    }
    images = {image["file_name"]: image for image in coco.loadImgs(coco.getImgIds())}
    for finding in findings:
        found = coco.loadAnns(coco.getAnnIds(imgIds=images[finding.name]["id"]))
        assert len(found) == len(finding.segments)
        for annotation, segment in zip(found, finding.segments, strict=True):
            assert annotation["category_id"] == TABLE.categories[segment["category_id"]].id
            assert annotation["score"] == round(segment["score"], 4)
            mask, expected = coco.annToMask(annotation), finding.id_map == segment["id"]
            assert annotation["area"] == expected.sum()
            x, y, width, height = annotation["bbox"]
            columns, rows = (np.flatnonzero(expected.any(axis)) for axis in (0, 1))
            ends = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose([x, y, x + width, y + height], ends, atol=1)
            assert (mask & expected).sum() / (mask | expected).sum() > 0.9
    capsys.readouterr()


def test_cvat_xml_has_what_cvat_documents(write):
    root = ElementTree.parse(write("cvat") / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    labels = root.findall("meta/task/labels/label")
    assert [label.findtext("name") for label in labels] == ["brick", "pipe", "sky", "soil"]
    assert labels[0].findtext("color") == "#c83c32"
    attribute = labels[0].find("attributes/attribute")
    assert attribute.findtext("name") == "score" and attribute.findtext("input_type") == "number"
    first, second = root.findall("image")
    assert second.attrib == {"id": "1", "name": "deep/b.png", "width": "40", "height": "64"}
    soil, pipe = second.findall("polygon")
    assert (soil.get("label"), soil.get("z_order"), pipe.get("z_order")) == ("soil", "0", "1")
    assert pipe.find("attribute[@name='score']").text == "0.88"
    points = [tuple(map(float, pair.split(","))) for pair in soil.get("points").split(";")]
    assert set(points) == {(0, 0), (40, 0), (40, 64), (0, 64)} or len(points) > 4
    bricks = [p.get("group_id") for p in first.findall("polygon[@label='brick']")]
    assert sorted(bricks, key=str) == ["5", "5", None]


def test_a_name_that_xml_cannot_hold_is_rejected_before_the_work(tmp_path):
    names = ["a.jpg", "deep/grün.png", os.fsdecode(b"deep/gr\xfcn.png")]
    for name, writer in WRITERS.items():
        if name != "cvat":
            writer(tmp_path / name, TABLE).check(names)
    writer = WRITERS["cvat"](tmp_path / "cvat", TABLE)
    writer.check(names[:2])
    with pytest.raises(
        ValueError, match=r"^deep/gr\\udcfcn\.png: CVAT's XML needs a name in UTF-8"
    ):
        writer.check(names)


def test_yolo_has_a_line_for_each_segment_and_its_score_beside_it(write, findings):
    folder = write("yolo")
    names = yaml.safe_load((folder / "data.yaml").read_text())["names"]
    assert names == {0: "brick", 1: "pipe", 2: "sky", 3: "soil"}
    lines = (folder / "labels/deep/b.txt").read_text().splitlines()
    scores = (folder / "scores/deep/b.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["3", "1"] and scores == ["0.9", "0.88"]
    sides = np.array([float(word) for line in lines for word in line.split()[1:]])
    assert sides.min() == 0 and sides.max() == 1
    # Rows of 64: corners lie between pixels, and would in an image a hundred times as high.
    downs = sides[1::2] * 64
    assert np.abs(downs - downs.round()).max() < 1e-4


# What YAML would take for a truth value, a number, a mapping, a comment, a list, nothing.
UNTIDY = ["no", "3", "a: b", "wall #2", "[sic]", "~", '"inch"', "Grün\\", "- x", "<b> & 'c'"]


def test_names_of_classes_are_texts_whatever_they_are(tmp_path):
    table = CategoryTable([{"id": i, "name": n, "isthing": 1} for i, n in enumerate(UNTIDY, 1)])
    for name in ("yolo", "cvat"):
        WRITERS[name](tmp_path / name, table).finish()
    text = (tmp_path / "yolo/data.yaml").read_text(encoding="utf-8")
    assert list(yaml.safe_load(text)["names"].values()) == UNTIDY
    assert "Grün" in text
    root = ElementTree.parse(tmp_path / "cvat/annotations.xml").getroot()
    labels = root.findall("meta/task/labels/label")
    assert [label.findtext("name") for label in labels] == UNTIDY


@pytest.mark.parametrize("name", WRITERS)
def test_a_run_goes_on_where_it_has_stopped(name, findings, tmp_path):
    first, second = findings
    complete = WRITERS[name](tmp_path / "complete", TABLE)
    for finding in findings:
        complete.add(finding)
    complete.finish()

    WRITERS[name](tmp_path / name, TABLE).add(first)
    resumed = WRITERS[name](tmp_path / name, TABLE, resume=True)
    assert first.name in resumed and second.name not in resumed
    resumed.add(second)
    resumed.finish()
    files = sorted(p.relative_to(tmp_path / name) for p in (tmp_path / name).rglob("*.*"))
    assert files == sorted(
        p.relative_to(tmp_path / "complete") for p in (tmp_path / "complete").rglob("*.*")
    )
    for file in files:
        if (tmp_path / name / file).is_file():
            assert (tmp_path / name / file).read_text() == (
                tmp_path / "complete" / file
            ).read_text()


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_may_be_corrected_are_never_replaced(name, findings, tmp_path):
    writer = WRITERS[name](tmp_path, TABLE)
    writer.add(findings[0])
    writer.finish()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()}
    with pytest.raises(ValueError, match="perhaps corrected by hand, and is not replaced"):
        WRITERS[name](tmp_path, TABLE)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()} == before


@pytest.mark.parametrize("name", ["coco", "cvat", "yolo"])
def test_files_of_somebody_else_are_not_gone_on_with(name, findings, tmp_path):
    """They have no journal, and YOLO's no scores."""
    writer = WRITERS[name](tmp_path, TABLE)
    writer.add(findings[0])
    writer.finish()
    for kept in ("findings.jsonl", "scores/a.txt"):
        (tmp_path / kept).unlink(missing_ok=True)
    if name == "yolo":
        (tmp_path / "scores").rmdir()
    with pytest.raises(ValueError, match="perhaps corrected by hand, and is not replaced"):
        WRITERS[name](tmp_path, TABLE, resume=True)


@pytest.mark.parametrize("name", ["coco", "cvat"])
def test_what_an_earlier_run_left_unfinished_is_forgotten_without_resume(name, findings, tmp_path):
    WRITERS[name](tmp_path, TABLE).add(findings[0])
    writer = WRITERS[name](tmp_path, TABLE)
    assert findings[0].name not in writer
    writer.add(findings[1])
    writer.finish()
    text = next(tmp_path.glob("annotations.*")).read_text()
    assert findings[0].name not in text and findings[1].name in text


@pytest.mark.parametrize(("score", "shown"), [(0.0, 0.0), (0.123456, 0.1235), (None, None)])
def test_a_score_of_nothing_is_one_and_none_is_left_away(findings, tmp_path, score, shown):
    finding = findings[1]
    segments = [{**segment, "score": score} for segment in finding.segments]
    finding = dataclasses.replace(finding, segments=segments)
    for name, kind in WRITERS.items():
        writer = kind(tmp_path / name, TABLE)
        writer.add(finding)
        writer.finish()
    shapes = json.loads((tmp_path / "labelme/deep/b.json").read_text())["shapes"]
    found = json.loads((tmp_path / "coco/annotations.json").read_text())["annotations"]
    assert [shape.get("score") for shape in shapes] == [shown] * 2
    assert [annotation.get("score") for annotation in found] == [shown] * 2
    assert all(("score" in entry) == (score is not None) for entry in shapes + found)
    root = ElementTree.parse(tmp_path / "cvat/annotations.xml").getroot()
    texts = [a.text for a in root.findall("image/polygon/attribute")]
    assert texts == ([] if score is None else [str(shown)] * 2)
    assert (tmp_path / "yolo/scores/deep/b.txt").read_text() == f"{shown}\n{shown}\n"


def test_a_set_of_things_only_names_no_stuff(tmp_path):
    table = CategoryTable([{"id": 3, "name": "nut", "isthing": 1}])
    for name, kind in WRITERS.items():
        assert "--stuff" not in kind(tmp_path / name, table).conversion("images"), name


def test_cvat_gets_a_task_and_an_attribute_that_it_knows(write):
    task = ElementTree.parse(write("cvat") / "annotations.xml").getroot().find("meta/task")
    assert (task.findtext("size"), task.findtext("mode")) == ("2", "annotation")
    attribute = task.find("labels/label/attributes/attribute")
    texts = [attribute.findtext(name) for name in ("mutable", "default_value", "values")]
    assert texts == ["False", "0", "0\n1\n0.0001"]


def test_labelme_reads_files_of_version_5(write):
    assert json.loads((write("labelme") / "a.json").read_text())["version"].startswith("5.")
