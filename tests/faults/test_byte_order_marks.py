"""Windows programs begin their text files with a byte order mark: every reader takes them."""

import codecs
import json
import shutil
from pathlib import Path

import pytest
from annotation_files import CORNERS, REGIONS, SIZE, via_csv, write
from converted_sets import save_image

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.guess import guess_format
from detr_d2.utils import files

SETS = Path(__file__).resolve().parents[1] / "foreign_sets"
TEXTS = frozenset({".txt", ".json", ".xml", ".csv", ".ndjson", ".yaml"})


def add_marks(folder: Path) -> None:
    """Put a byte order mark before every text file."""
    texts = [path for path in folder.rglob("*") if path.suffix in TEXTS]
    assert texts
    for path in texts:
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())


def segments(folder: Path, annotation_format: str, options: dict) -> tuple[int, dict]:
    paths = {k: str(folder / v[1:]) if v[:1] == "/" else v for k, v in options.items()}
    report = convert_set(open_format(annotation_format, **paths), folder.with_name("out"))
    assert report.skipped == []
    return report.images_out, report.segments


FOREIGN = [
    ("cvat", "cvat", {"annotations": "/train.xml", "images": "/images"}),
    ("pascal-voc", "pascal_voc", {"folder": "/"}),
    ("pascal-voc", "pascal_voc", {"folder": "/", "part": "train"}),
    ("supervisely", "supervisely", {"folder": "/"}),
    ("label-studio", "label_studio", {"annotations": "/export.json", "images": "/images"}),
]


@pytest.mark.parametrize(
    ("annotation_format", "name", "options"), FOREIGN, ids=["cvat", "voc", "list", "sly", "ls"]
)
def test_sets_of_other_programs_may_have_marks(tmp_path, annotation_format, name, options):
    shutil.copytree(SETS / name, tmp_path / "set")
    expected = segments(tmp_path / "set", annotation_format, options)
    add_marks(tmp_path / "set")
    assert segments(tmp_path / "set", annotation_format, options) == expected


SQUARE = "0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6"
LABELME = {"imagePath": "a.png", "shapes": [{"label": "nut", "points": CORNERS}]}
RING = [side for corner in CORNERS for side in corner]
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [RING]}],
    "categories": [{"id": 1, "name": "nut"}],
}
VIA = {"a.png1": {"filename": "a.png", "regions": REGIONS[:1]}}
LABELBOX = {
    "data_row": {"external_id": "a.png"},
    "media_attributes": {"height": SIZE[0], "width": SIZE[1]},
    "projects": {
        "p": {
            "labels": [
                {
                    "annotations": {
                        "objects": [
                            {
                                "name": "nut",
                                "annotation_kind": "ImagePolygon",
                                "polygon": [{"x": x, "y": y} for x, y in CORNERS],
                            }
                        ]
                    }
                }
            ]
        }
    },
}
OWN = [
    ("yolo", {"classes.txt": "nut\n", "labels/a.txt": SQUARE}, {"values": "/classes.txt"}),
    ("yolo", {"data.yaml": "names: [nut]\n", "labels/a.txt": SQUARE}, {"values": "/data.yaml"}),
    ("labelme", {"images/a.json": LABELME}, {"folder": "/images"}),
    ("coco-json", {"x.json": COCO}, {"annotations": "/x.json"}),
    ("via", {"x.json": VIA}, {"annotations": "/x.json", "attribute": "kind"}),
    ("labelbox", {"x.ndjson": json.dumps(LABELBOX)}, {"annotations": "/x.ndjson"}),
]


@pytest.mark.parametrize(("annotation_format", "texts", "options"), OWN)
def test_files_of_every_format_may_have_marks(tmp_path, annotation_format, texts, options):
    save_image(tmp_path / "set/images/a.png", SIZE)
    for name, text in texts.items():
        write(tmp_path / "set" / name, text)
    if "folder" not in options:
        options = {**options, "images": "/images"}
    if annotation_format == "yolo":
        options |= {"masks": "/labels"}
    add_marks(tmp_path / "set")
    assert segments(tmp_path / "set", annotation_format, options) == (1, {"nut": 1})
    assert guess_format(tmp_path / "set").arguments[0] == annotation_format


def test_a_csv_may_have_a_mark(tmp_path):
    for name in "ab":
        save_image(tmp_path / f"set/images/{name}.png", SIZE)
    write(tmp_path / "set/x.csv", via_csv(REGIONS[:1]))
    add_marks(tmp_path / "set")
    options = {"annotations": "/x.csv", "images": "/images", "attribute": "kind"}
    assert segments(tmp_path / "set", "via", options) == (2, {"nut": 1})


def test_a_text_in_another_encoding_is_named(tmp_path):
    (tmp_path / "classes.txt").write_bytes("grün".encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes\.txt: not a text in UTF-8"):
        files.read_lines(tmp_path / "classes.txt")
