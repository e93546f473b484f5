"""Folders of annotation programs and data sets are recognized; the proposal is carried out."""

import shutil
from pathlib import Path

import convert_masks
import pytest
from annotation_files import (
    MAPILLARY,
    PIECE,
    REGIONS,
    SIZE,
    VIA_1,
    ade_mask,
    labelbox_row,
    mapillary_instances,
    via_csv,
    write,
)
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.guess import guess_format
from detr_d2.conversion.formats.layouts import guess_layout, via_options

SETS = Path(__file__).resolve().parents[2] / "foreign_sets"


def guessed(root) -> list[str]:
    """The proposal, carried out as far as the files are looked at."""
    arguments = [a.replace("NAME", "kind") for a in guess_format(root).arguments]
    args = convert_masks.argument_parser().parse_args([*arguments, "--out", str(root / "out")])
    assert convert_masks.make_format(args).samples
    return arguments


@pytest.mark.parametrize(
    ("folder", "annotation_format"),
    [
        ("cvat", "cvat"),
        ("pascal_voc", "pascal-voc"),
        ("supervisely", "supervisely"),
        ("label_studio", "label-studio"),
        ("cityscapes", "cityscapes"),
    ],
)
def test_sets_of_other_programs(folder, annotation_format):
    assert guessed(SETS / folder)[0] == annotation_format


@pytest.mark.parametrize(
    ("name", "content", "annotation_format"),
    [
        ("via.json", VIA_1, "via"),
        ("via.csv", via_csv(REGIONS), "via"),
        ("x.ndjson", labelbox_row(PIECE), "labelbox"),
        ("x.json", labelbox_row(PIECE) + "\n" + labelbox_row(PIECE, name="b.png"), "labelbox"),
    ],
)
def test_files_of_other_programs(tmp_path, name, content, annotation_format):
    save_image(tmp_path / "images/a.png", SIZE)
    path = write(tmp_path / name, content)
    arguments = guessed(tmp_path)
    assert arguments[:3] == [annotation_format, "--annotations", path]
    assert arguments[3:5] == ["--images", str(tmp_path / "images")]


def test_ade20k_and_mapillary(tmp_path):
    full, scenes, streets = tmp_path / "full", tmp_path / "scenes", tmp_path / "streets"
    save_image(full / "training/a.jpg", SIZE)
    save_mask(full / "training/a_seg.png", ade_mask())
    write(full / "training/a_atr.txt", '001 # 0 # 0 # wall # wall # ""')
    assert guessed(full) == ["ade20k", "--folder", str(full)]
    save_image(scenes / "images/validation/a.jpg", SIZE)
    save_mask(scenes / "annotations/validation/a.png", ade_mask()[..., 0])
    write(scenes / "objectInfo150.txt", "Idx\tName\n1\twall\n")
    assert guessed(scenes)[-2:] == ["--part", "validation"]
    save_image(streets / "training/images/a.jpg", SIZE)
    save_mask(streets / "training/v1.2/instances/a.png", mapillary_instances())
    write(streets / "config_v1.2.json", MAPILLARY)
    assert guessed(streets)[-2:] == ["--version", "v1.2"]


def test_a_supervisely_project_below_the_folder(tmp_path):
    """Archives hold a README beside the project's folder; ann may have come without img."""
    project = tmp_path / "fruit/project"
    write(tmp_path / "meta.json", {"about": "another program's"})
    write(project / "meta.json", {"classes": [{"title": "nut"}], "tags": []})
    write(project / "ds/ann/a.png.json", {"size": {"height": 20, "width": 30}, "objects": []})
    guess = guess_format(tmp_path)
    assert not guess.arguments
    assert any("without its images, which belong in img beside ann" in line for line in guess.seen)
    save_image(project / "ds/img/a.png", SIZE)
    assert guessed(tmp_path) == ["supervisely", "--folder", str(project)]


def test_what_a_folder_lacks_is_said(tmp_path):
    shutil.copytree(SETS / "pascal_voc", tmp_path / "voc")
    shutil.rmtree(tmp_path / "voc/SegmentationObject")
    assert any("without SegmentationObject" in line for line in guess_format(tmp_path).seen)
    write(tmp_path / "boxes/a.xml", "<annotation/>")
    assert "a.xml: Pascal VOC, boxes only, or LabelMe 3.0" in guess_format(tmp_path / "boxes").seen


@pytest.mark.parametrize(
    ("annotation_format", "name", "content", "message"),
    [
        ("cvat", "x.xml", "<annotation/>", "this is an XML of Pascal VOC"),
        ("cvat", "x.xml", "<html/>", "its root is <html>"),
        ("cvat", "x.xml", "{}", "not valid XML"),
        ("via", "x.json", {"shapes": []}, "this is labelme"),
        ("via", "x.json", {"project": 1, "config": 2, "metadata": 3}, "this is VIA 3"),
        ("via", "x.csv", "a,b\n", r"no CSV of VIA 1 or 2, without columns \['filename'"),
        ("label-studio", "x.json", VIA_1, "this is VIA 1"),
        ("label-studio", "x.json", [{"annotation_id": 1, "annotator": 2}], "this is JSON-MIN"),
        ("labelbox", "x.json", [{"Label": 1, "Labeled Data": 2}], "an old JSON export of Labelbox"),
        ("labelbox", "x.json", "{]", "line 1: not valid JSON"),
        ("labelbox", "x.json", '{\n"Label": {}, "Labeled Data": "u"}', "an old JSON export of Lab"),
        ("labelbox", "x.json", '[\n{"a": 1}]', "one object a line .this is unknown JSON"),
        ("coco-json", "x.json", [{"id": 1, "data": {}, "annotations": []}], "this is Label Studio"),
    ],
)
def test_a_wrong_format_is_named(tmp_path, annotation_format, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message):
        open_format(annotation_format, annotations=path, images=str(tmp_path))


VISTAS = ["validation/images/a.jpg", "validation/v2.0/instances/a.png"]


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        (["leftImg8bit/train/ulm/a_LEFTIMG8BIT.PNG", "gtFine/a.png"], ["cityscapes"]),
        (
            ["leftImg8bit/a_leftImg8bit.png", "gtCoarse/a.png"],
            ["cityscapes", "--ground-truth", "gtCoarse"],
        ),
        (["leftImg8bit/a_leftImg8bit.png", "gtCoarse/a.png", "gtFine/a.png"], ["cityscapes"]),
        (["leftImg8bit/a_leftImg8bit.png"], []),
        # A folder's name is not that of a file.
        (["a_leftImg8bit.png", "gtFine"], []),
        (["a_seg.png", "a_atr.txt"], ["ade20k"]),
        (["a_seg.png", "a.json"], ["ade20k"]),
        (["a_seg.png"], []),
        (["objectInfo150.txt"], ["ade20k"]),
        (
            ["objectInfo150.txt", "images/training/a.jpg", "images/validation/b.jpg"],
            ["ade20k", "--part", "training"],
        ),
        (["config.json", *VISTAS], ["mapillary", "--part", "validation", "--version", "v2.0"]),
        (
            ["config_v1.2.json", *VISTAS, "training/v1.2/panoptic/b.png"],
            ["mapillary", "--part", "training", "--version", "v2.0"],
        ),
        (["config.json", "training/panoptic/a.png"], ["mapillary", "--part", "training"]),
        (["config_v3.0.json", *VISTAS], []),
        (["config.json", "v1.2/instances/a.png"], []),
        (["config.json", "training/images/a.jpg"], []),
    ],
)
def test_public_sets_are_known_by_their_files(tmp_path, files, arguments):
    """Names alone decide, but for JSON files that other formats may have: those are empty."""
    found, _ = guess_layout(str(tmp_path), files)
    assert [word for word in found if word not in ("--folder", str(tmp_path))] == arguments


def test_the_project_of_supervisely_that_is_highest_is_proposed(tmp_path):
    """meta.json of other programs, or broken ones, are passed over."""
    for folder in ("b/deep/er", "b"):
        write(tmp_path / folder / "meta.json", {"classes": []})
        for name in ("ds/ann/a.png.json", "ds/img/a.png"):
            write(tmp_path / folder / name, "")
    write(tmp_path / "meta.json", "{")
    files = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()]
    found, _ = guess_layout(str(tmp_path), sorted(files))
    assert found == ["supervisely", "--folder", str(tmp_path / "b")]
    write(tmp_path / "meta.json", {"classes": 5})
    assert guess_layout(str(tmp_path), sorted(files))[0] == found
    write(tmp_path / "meta.json", {"classes": []})
    assert guess_layout(str(tmp_path), sorted(files))[0][-1] == str(tmp_path)


def test_three_files_of_xml_are_looked_at(tmp_path):
    save_image(tmp_path / "up/a.png", SIZE)
    for name, text in {
        "a": "<annotation/>",
        "b": "<html/>",
        "c": "",
        "d": "<annotations/>",
    }.items():
        write(tmp_path / f"{name}.XML", text)
    found, seen = guess_layout(str(tmp_path), ["a.XML", "b.XML", "c.XML", "d.XML", "up/a.png"])
    assert found == []
    assert seen[:2] == [
        "a.XML: Pascal VOC, boxes only, or LabelMe 3.0",
        "b.XML: unknown XML <html>",
    ]
    assert seen[2].startswith("c.XML: not valid XML (")
    found, _ = guess_layout(str(tmp_path), ["a.XML", "b.XML", "d.XML", "up/a.png"])
    path = str(tmp_path / "d.XML")
    assert found == ["cvat", "--annotations", path, "--images", str(tmp_path / "up")]


@pytest.mark.parametrize(
    ("attributes", "options"),
    [
        ([{"a": 1}], []),
        ([{"a": 1}, {"b": 1}], ["--attribute", "NAME"]),
        ([{}], ["--class", "NAME"]),
    ],
)
def test_what_is_the_class_of_via(tmp_path, attributes, options):
    regions = [{**REGIONS[0], "region_attributes": one} for one in attributes]
    path = write(tmp_path / "t.CSV", "\ufeff" + via_csv(regions))
    found, _ = guess_layout(str(tmp_path), ["t.CSV"])
    assert found == ["via", "--annotations", path, "--images", str(tmp_path), *options]


def test_tables_and_lines_of_other_programs_are_none(tmp_path):
    write(tmp_path / "a.csv", "filename,label\n")
    write(tmp_path / "b.jsonl", "no JSON\n")
    path = write(tmp_path / "c.jsonl", labelbox_row(PIECE))
    assert guess_layout(str(tmp_path), ["a.csv", "b.jsonl", "absent.csv"]) == ([], [])
    assert guess_layout(str(tmp_path), ["a.csv", "b.jsonl", "c.jsonl"]) == (
        ["labelbox", "--annotations", path, "--images", str(tmp_path)],
        ["c.jsonl: Labelbox"],
    )


def test_a_broken_file_of_via_has_no_options_but_a_reason(tmp_path):
    path = write(tmp_path / "v.json", {"a": {"regions": [], "filename": 5}})
    assert via_options(path) == ([], [f"{path}: entry 'a' has no filename or no regions"])
