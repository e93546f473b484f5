"""Which mask belongs to which image, and names that are taken twice."""

import re

import numpy as np
import pytest
from annotation_files import write
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.image_folder import ImageFinder

SIZE = (20, 30)


def test_two_images_of_one_name_are_skipped_and_named(tmp_path, converted):
    for name in ("a.jpg", "a.png", "b.png"):
        save_image(tmp_path / "images" / name, SIZE)
    for name in ("a", "b"):
        save_mask(tmp_path / f"masks/{name}.png", np.full(SIZE, 1, np.uint8))
    result = converted(
        "semantic-png", images=str(tmp_path / "images"), masks=str(tmp_path / "masks"), values="1=x"
    )
    assert list(result.images) == ["b.png"]
    assert len(result.report.skipped) == 2
    assert all("several images of one name" in item.reason for item in result.report.skipped)


@pytest.mark.parametrize(
    ("annotation_format", "options"),
    [("semantic-png", {"values": "1=x"}), ("instance-ids", {"label": "x"})],
)
def test_two_masks_of_one_image_are_refused_and_named(
    tmp_path, converted, annotation_format, options
):
    save_image(tmp_path / "images/a.jpg", SIZE)
    for name in ("a.png", "a.tif"):
        save_mask(tmp_path / "masks" / name, np.full(SIZE, 1, np.uint8))
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    with pytest.raises(ValueError, match=r"a\.jpg: several masks, one expected: .*a\.png.*a\.tif"):
        converted(annotation_format, **folders, **options)


def test_equal_names_in_different_folders_are_told_apart(tmp_path, converted):
    for folder in ("cam1", "cam2"):
        save_image(tmp_path / "images" / folder / "1.jpg", SIZE)
        save_mask(tmp_path / "masks" / folder / "1.png", np.full(SIZE, 1, np.uint8))
    result = converted(
        "semantic-png", images=str(tmp_path / "images"), masks=str(tmp_path / "masks"), values="1=x"
    )
    assert list(result.images) == ["cam1__1.jpg", "cam2__1.jpg"]


def test_options_that_do_not_exist_are_told():
    with pytest.raises(ValueError, match=r"no option \['mask'\], allowed: .*'masks'"):
        open_format("semantic-png", mask="x")
    with pytest.raises(ValueError, match=r"annotation format 'png', allowed: .*'binary-masks'"):
        open_format("png")


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("Day 1/Brücke.JPG", "Day 1/Brücke.JPG"),
        ("day 1/brücke.jpg", "Day 1/Brücke.JPG"),
        ("./Day 1\\Brücke.JPG", "Day 1/Brücke.JPG"),
        ("/home/anna/export/brücke.JPG", "Day 1/Brücke.JPG"),
        # With its folder a name is no longer ambiguous, whatever its case.
        ("CAM2/a.jpg", "cam2/a.jpg"),
        # As it stands it is one file, though without case it may be two.
        ("b.JPG", "b.JPG"),
        ("c.jpg", None),
        ("Day 1", None),
    ],
)
def test_images_are_found_by_names_as_loose_as_files_write_them(tmp_path, named, found):
    for name in ("Day 1/Brücke.JPG", "cam1/a.jpg", "cam2/a.jpg", "b.jpg", "b.JPG"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert ImageFinder(tmp_path).find(named) == found


@pytest.mark.parametrize(
    ("named", "options"), [("a.jpg", ["cam1/a.jpg", "cam2/a.jpg"]), ("B.jpg", ["b.JPG", "b.jpg"])]
)
def test_a_name_that_fits_two_images_is_not_guessed(tmp_path, named, options):
    for name in options:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    message = f"{named}: may be any of {options} below {tmp_path}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ImageFinder(tmp_path).find(named)


def test_image_ids_follow_the_names_whatever_the_order_in_the_file(tmp_path, converted):
    """VIA has no ids, so that the images are numbered here: by name, in any order of export."""
    files = {}
    for name in ("c.png", "a.png", "b 2.png"):
        save_image(tmp_path / "images" / name, SIZE)
        files[f"{name}1"] = {"filename": name, "regions": []}
    region = {"shape_attributes": {"name": "circle", "cx": 9, "cy": 9, "r": 4}}
    files["c.png1"]["regions"] = [{**region, "region_attributes": {}}]
    path = write(tmp_path / "via.json", files)
    options = {"annotations": path, "images": str(tmp_path / "images"), "label": "nut"}
    assert [s.name for s in open_format("via", **options).samples] == ["a.png", "b 2.png", "c.png"]
    result = converted("via", **options)
    assert {name: image["id"] for name, image in result.images.items()} == {
        "a.png": 1,
        "b 2.png": 2,
        "c.png": 3,
    }


def test_a_value_of_exif_that_does_not_exist_is_told():
    with pytest.raises(ValueError, match=r"exif 'turned', allowed: 'upright', 'stored'"):
        open_format("labelme", folder=".", exif="turned")


def test_masks_and_images_that_belong_to_nothing_are_told_apart(tmp_path):
    save_image(tmp_path / "images/a.jpg", SIZE)
    save_image(tmp_path / "images/b.jpg", SIZE)
    for name in ("a_mask", "lost_mask", "a_notes"):
        save_mask(tmp_path / f"masks/{name}.png", np.full(SIZE, 1, np.uint8))
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    opened = open_format("semantic-png", **folders, pattern="{image}_mask", values="1=x")
    assert [(item.name, item.reason) for item in opened.skipped] == [
        (f"{tmp_path}/masks/a_notes.png", "its name does not match the pattern {image}_mask"),
        (f"{tmp_path}/masks/lost_mask.png", "no image belongs to it by the pattern {image}_mask"),
        (f"{tmp_path}/images/b.jpg", "no mask file belongs to it"),
    ]
    (sample,) = opened.samples
    assert sample.inputs == (f"{tmp_path}/masks/a_mask.png",)
    assert [match.mask for match in opened.matched] == ["a_mask.png"]


@pytest.mark.parametrize(
    ("pattern", "images", "masks"),
    [
        ("{image}_mask", ["b.png", "a.jpg"], ["b_mask.png", "a_mask.PNG"]),
        ("{image}.PNG", ["b.jpg", "a.tif"], ["b.PNG", "a.png"]),
        # The images have the extension of the masks too.
        ("{image}_m.png", ["a.png", "b.png"], ["a_m.png", "b_m.png"]),
    ],
)
def test_images_and_masks_in_one_folder(tmp_path, pattern, images, masks):
    for name in images:
        save_image(tmp_path / "all" / name, SIZE)
    for name in masks:
        save_mask(tmp_path / "all" / name, np.full(SIZE, 1, np.uint8))
    (tmp_path / "link").symlink_to(tmp_path / "all")
    for folder in ("all", "link"):
        folders = {"images": str(tmp_path / "all"), "masks": str(tmp_path / folder)}
        opened = open_format("semantic-png", **folders, pattern=pattern, values="1=x")
        assert [sample.name for sample in opened.samples] == sorted(images)
        assert opened.skipped == []
        with pytest.raises(ValueError, match="lie in one folder: give a pattern that tells them"):
            open_format("semantic-png", **folders, values="1=x")


def test_images_of_one_name_are_told_by_their_paths(tmp_path):
    for name in ("a.jpg", "a.png"):
        save_image(tmp_path / "images" / name, SIZE)
    save_mask(tmp_path / "masks/a.png", np.full(SIZE, 1, np.uint8))
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    opened = open_format("semantic-png", **folders, values="1=x")
    paths = [f"{tmp_path}/images/{name}" for name in ("a.jpg", "a.png")]
    assert [item.name for item in opened.skipped] == paths
    assert str(paths) in opened.skipped[0].reason
