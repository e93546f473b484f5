"""Which mask belongs to which image, and names that are taken twice."""

import numpy as np
import pytest
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format

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
