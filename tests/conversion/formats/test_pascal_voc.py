"""Pascal VOC: palette, label maps, borders, boxes without masks."""

import numpy as np
import pytest
from annotation_files import BOX, SIZE, only, write
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.pascal_voc import color_of
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


def test_pascal_voc_palette_border_and_boxes(tmp_path, converted):
    """The challenge's own files: palette, 255 for the border; images with boxes only are named."""
    from PIL import Image

    palette = [channel for index in range(256) for channel in color_of(index)]
    kinds = {"SegmentationClass": 15, "SegmentationObject": 1}
    for folder, value in kinds.items():
        values = np.where(BOX, value, 0).astype(np.uint8)
        values[3, 2:12] = 255
        png = Image.fromarray(values, "P")
        png.putpalette(palette)
        (tmp_path / folder).mkdir()
        png.save(tmp_path / folder / "a.png")
    for name in ("a", "b"):
        save_image(tmp_path / f"JPEGImages/{name}.jpg", SIZE)
        write(tmp_path / f"Annotations/{name}.xml", "<annotation/>")
    result = converted("pascal-voc", ALL, folder=str(tmp_path))
    expected = BOX.copy()
    expected[3] = False
    np.testing.assert_array_equal(only(result, "a.jpg", "person"), expected)
    assert {c["name"]: c["id"] for c in result.content["categories"]}["tvmonitor"] == 20
    (item,) = result.report.skipped
    assert item.reason.startswith("only boxes; masks are needed")


def pascal(root, label_map: str | None = None, names=("a",), objects=None) -> dict:
    """Images whose BOX is an object of the first class, red, or of the colours of an array."""
    for name in names:
        save_image(root / f"JPEGImages/{name}.jpg", SIZE)
        for folder in ("SegmentationClass", "SegmentationObject"):
            mask = np.where(BOX[..., None], np.uint8([128, 0, 0]), np.uint8(0))
            save_mask(root / folder / f"{name}.png", mask if objects is None else objects)
    if label_map is not None:
        write(root / "labelmap.txt", label_map)
    return {"folder": str(root)}


def test_what_a_label_map_ignores_is_void_in_its_own_colour(tmp_path, converted):
    options = pascal(tmp_path, "nut:128,0,0::\nignored:9,8,7::\n")
    colors = np.where(BOX[..., None], np.uint8([128, 0, 0]), np.uint8([9, 8, 7]))
    save_mask(tmp_path / "SegmentationClass/a.png", colors)
    result = converted("pascal-voc", ALL, **options)
    assert ((result.labels("a.jpg") == "nut") == BOX).all()
    assert ((result.labels("a.jpg") == "") == ~BOX).all()


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        (
            "# label:color::\n\nbackground:0,0,0::\nnut:128,0,0::\nignored:224,224,192::\n",
            [("nut", (128, 0, 0))],
        ),
        # The border's colour may be a class; ignored may have another one.
        (
            "nut:128,0,0::\nedge:224,224,192::\nignored:9,9,9::",
            None,
        ),
        ("nut: 128, 0,0\npit:0,255,1:part:act", [("nut", (128, 0, 0)), ("pit", (0, 255, 1))]),
        # Without colours: those of the challenge, from the background's on.
        ("background\nnut\npit:::", [("nut", (128, 0, 0)), ("pit", (0, 128, 0))]),
    ],
)
def test_the_classes_of_a_label_map(tmp_path, text, classes):
    if classes is None:
        with pytest.raises(ValueError, match="are both a class and void"):
            open_format("pascal-voc", **pascal(tmp_path, text))
        return
    opened = open_format("pascal-voc", **pascal(tmp_path, text))
    assert [(c.name, c.color) for c in opened.classes] == classes
    assert all(c.isthing for c in opened.classes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# names\nnut:1,2,3\npit", "line 3: must be NAME:RED,GREEN,BLUE::"),
        ("nut:1,2", "line 1: must be"),
        ("nut:1,2,256", "line 1: must be"),
        ("nut:1,2,x", "line 1: must be"),
        ("nut:1,2,3,4", "line 1: must be"),
        ("nut:1,2,3\npit:1,2,3", "nut and pit have one colour"),
    ],
)
def test_lines_of_a_label_map_that_are_wrong_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"labelmap\.txt: {message}"):
        open_format("pascal-voc", **pascal(tmp_path, text))


def test_the_colours_of_the_challenge():
    """1 and 2 are red and green; 8 is the first that has the second bit, 20 has two channels."""
    colors = [color_of(index) for index in (0, 1, 2, 4, 8, 20, 255)]
    assert colors[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128)]
    assert colors[4:] == [(64, 0, 0), (0, 64, 128), (224, 224, 192)]


def test_a_list_of_pascal_voc_and_what_is_absent(tmp_path):
    options = pascal(tmp_path, names=("a", "b 1", "c"))
    write(tmp_path / "ImageSets/Segmentation/val.txt", "b 1 \nc\n")
    (tmp_path / "SegmentationObject/c.png").unlink()
    opened = open_format("pascal-voc", **options, part="val")
    (sample,) = opened.samples
    masks = [f"{tmp_path}/Segmentation{kind}/b 1.png" for kind in ("Class", "Object")]
    assert (sample.name, list(sample.inputs)) == ("b 1.jpg", masks)
    (item,) = opened.skipped
    assert item.reason == f"there is no {tmp_path}/SegmentationObject/c.png"
    assert opened.classes[14].name == "person"
    assert [c.wanted_id for c in opened.classes] == list(range(1, 21))
