"""All eight orientations of EXIF, compared with how PIL turns an image."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from detr_d2.data.image_io import apply_exif_orientation, inspect_image
from detr_d2.visualization import read_image

STORED = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_turn_as_images_do(tmp_path, orientation):
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.stack([STORED] * 3, -1)).save(path, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))[..., 0]
    assert upright.shape == ((3, 2) if orientation > 4 else (2, 3))
    assert apply_exif_orientation(STORED, orientation).tolist() == upright.tolist()
    assert read_image(str(path))[..., 0].tolist() == upright.tolist()
    info = inspect_image(path)
    assert info.size == upright.shape and info.orientation == orientation


def test_the_eight_orientations_differ():
    turned = {
        (values.shape, values.tobytes())
        for values in (apply_exif_orientation(STORED, number) for number in range(1, 9))
    }
    assert len(turned) == 8


def test_without_a_sound_orientation_an_image_is_upright(tmp_path):
    Image.fromarray(STORED).save(tmp_path / "plain.png")
    assert inspect_image(tmp_path / "plain.png").orientation == 1
    for unknown in (0, 9):
        assert apply_exif_orientation(STORED, unknown).tolist() == STORED.tolist()
