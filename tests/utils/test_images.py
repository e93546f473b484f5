"""Images as a model sees them."""

import numpy as np
import pytest
from PIL import Image

from detr_d2.utils.images import decoding, read_image


@pytest.mark.parametrize(("order", "color"), [("RGB", (200, 10, 30)), ("BGR", (30, 10, 200))])
def test_the_order_of_the_colours(tmp_path, order, color):
    Image.new("RGB", (5, 3), (200, 10, 30)).save(tmp_path / "a.png")
    image = read_image(str(tmp_path / "a.png"), order)
    assert image.shape == (3, 5, 3) and image.dtype == np.uint8
    assert (image == color).all()
    assert (read_image(str(tmp_path / "a.png")) == (200, 10, 30)).all()


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_jpegs_of_printers_and_of_grey_cameras_are_read(tmp_path, mode):
    Image.new("RGB", (16, 8), (90, 90, 90)).convert(mode).save(tmp_path / "a b.JPG")
    image = read_image(str(tmp_path / "a b.JPG"))
    assert image.shape == (8, 16, 3) and np.abs(image.astype(int) - 90).max() <= 2


@pytest.mark.parametrize(("limit", "rejected"), [(14, True), (15, False), (None, False)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_of_more_pixels_than_pillow_allows(tmp_path, monkeypatch, limit, rejected):
    """Pillow itself raises an error of those of twice as many only."""
    Image.new("RGB", (5, 3)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    if rejected:
        with pytest.raises(ValueError, match=r"a\.png: 5x3 pixels, more than 0 million; scale"):
            read_image(str(tmp_path / "a.png"))
    else:
        assert read_image(str(tmp_path / "a.png")).shape == (3, 5, 3)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError("cut off"), OSError, "a.png: no image that can be read (cut off)"),
        (OSError("a.png is cut off"), OSError, "a.png is cut off"),
        (SyntaxError("a.png broken"), OSError, "a.png: no image that can be read (a.png broken)"),
        (Image.DecompressionBombError("big"), ValueError, "a.png: big; scale it down"),
    ],
    ids=str,
)
def test_whatever_pillow_raises_names_the_file_once(error, kind, text):
    with pytest.raises(kind) as raised, decoding("a.png"):
        raise error
    assert type(raised.value) is kind and str(raised.value) == text
