"""Numbers of mask files, what counts as inside, and which files a folder holds."""

import os

import numpy as np
import pytest
from PIL import Image

from detr_d2.data.image_io import (
    IMAGE_SUFFIXES,
    UnreadableError,
    files_below,
    inspect_image,
    read_binary,
    read_values,
)


def save(path, values, mode=None, **options):
    image = Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_colours_are_one_number_and_equal_channels_their_grey(tmp_path):
    # 2 + 256 * 3 + 65536 * 4.
    colour = np.array([[[2, 3, 4], [7, 7, 7]]], np.uint8)
    grey = np.array([[[9, 9, 9], [7, 7, 7]]], np.uint8)
    assert read_values(save(tmp_path / "c.png", colour)).tolist() == [[262914, 460551]]
    assert read_values(save(tmp_path / "g.png", grey)).tolist() == [[9, 7]]
    # As colours in any case: 9 * 65793.
    assert read_values(tmp_path / "g.png", colors=True).tolist() == [[592137, 460551]]
    assert read_values(save(tmp_path / "a.png", colour, "RGBA")).tolist() == [[262914, 460551]]


@pytest.mark.parametrize("last", [0, 1])
def test_a_colour_in_two_of_three_channels_is_one(tmp_path, last):
    colour = np.array([[[5, 5, 5], [5, 5, 5]]], np.uint8)
    colour[0, 1, 1 + last] = 6
    assert read_values(save(tmp_path / "c.png", colour))[0, 1] > 255


def test_palettes_give_indices_and_two_colours_0_and_1(tmp_path):
    image = Image.fromarray(np.array([[3, 250]], np.uint8))
    image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "p.png")
    assert read_values(tmp_path / "p.png").tolist() == [[3, 250]]
    found = read_values(save(tmp_path / "b.png", np.array([[0, 255]], np.uint8), "1"))
    assert found.tolist() == [[0, 1]] and found.dtype == np.uint8


def test_numbers_of_16_and_32_bits_are_whole_and_from_0(tmp_path):
    deep = np.array([[0, 300, 65535]], np.uint16)
    assert read_values(save(tmp_path / "d.png", deep)).tolist() == [[0, 300, 65535]]
    whole = np.array([[0, 70000]], np.float32)
    assert read_values(save(tmp_path / "w.tif", whole)).tolist() == [[0, 70000]]
    with pytest.raises(UnreadableError, match=r"h\.tif: fractional values"):
        read_values(save(tmp_path / "h.tif", np.array([[1, 1.5]], np.float32)))
    with pytest.raises(UnreadableError, match=r"n\.tif: value -2; a mask holds numbers from 0"):
        read_values(save(tmp_path / "n.tif", np.array([[-2, 5]], np.int32)))


def test_jpeg_is_no_mask_of_numbers_but_one_of_an_object(tmp_path):
    values = np.zeros((16, 24), np.uint8)
    values[:, 8:] = 255
    path = save(tmp_path / "m.jpg", values)
    with pytest.raises(UnreadableError, match=r"m\.jpg: JPEG changes the values"):
        read_values(path)
    assert read_binary(path).tolist() == (values > 0).tolist()


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ([0, 1, 0, 1], [0, 1, 0, 1]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 128, 127, 255], None),
        ([0, 128] * 20 + [255, 0] * 400, [0, 1] * 20 + [1, 0] * 400),
        ([0, 127] * 20 + [255, 0] * 400, [0, 0] * 20 + [1, 0] * 400),
        ([0, 200], None),
        ([0, 230], [0, 1]),
        ([31, 224], [0, 1]),
        ([32, 223], None),
        ([0, 127], None),
        ([0, 2], None),
    ],
)
def test_the_upper_half_is_inside(tmp_path, values, inside):
    """Grey is from 32 to 223; a tenth of the pixels may be."""
    path = save(tmp_path / "m.png", np.array([values], np.uint8))
    if inside is None:
        with pytest.raises(UnreadableError, match=r"grey, so it is no|none in the upper half"):
            read_binary(path)
    else:
        assert read_binary(path)[0].astype(int).tolist() == inside


def test_the_upper_half_of_16_bits(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 256, 65535]], np.uint16))
    assert read_binary(path).tolist() == [[False, False, True]]
    with pytest.raises(UnreadableError, match="values up to 32767, none in the upper half"):
        read_binary(save(tmp_path / "low.png", np.array([[0, 32767]], np.uint16)))
    with pytest.raises(UnreadableError, match="a coloured file"):
        read_binary(save(tmp_path / "c.png", np.array([[[0, 1, 1], [0, 0, 0]]], np.uint8)))


def test_the_value_or_the_lowest_value_inside_can_be_given(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 4, 5, 6]], np.uint8))
    assert read_binary(path, foreground=5).tolist() == [[False, False, True, False]]
    assert read_binary(path, threshold=5).tolist() == [[False, False, True, True]]


def test_a_difference_hash_has_a_bit_where_it_becomes_brighter_to_the_right(tmp_path):
    """72 x 64 pixels are 9 x 8 cells of 8; in the lowest row only the last one is brighter."""
    cells = np.zeros((8, 9), np.uint8)
    cells[-1, -1] = 200
    path = save(tmp_path / "h.png", cells.repeat(8, 0).repeat(8, 1))
    assert inspect_image(path).perceptual_hash == 1
    cells[0, 1] = 200
    save(path, cells.repeat(8, 0).repeat(8, 1))
    assert inspect_image(path).perceptual_hash == 1 + 2**63


def test_files_of_any_depth_and_case_without_hidden_ones(tmp_path):
    for name in ("b.PNG", "a/c.jpg", "a/d/e.tiff", ".hidden.png", ".folder/f.png", "g.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/h.png").touch()
    (tmp_path / "in/linked").symlink_to(tmp_path / "other")
    # Back to a folder that it lies in: not followed.
    os.symlink(tmp_path / "in", tmp_path / "in/a/circle")
    found = files_below(tmp_path / "in", IMAGE_SUFFIXES)
    assert found == ["a/c.jpg", "a/d/e.tiff", "b.PNG", "linked/h.png"]
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        files_below(tmp_path / "nowhere", IMAGE_SUFFIXES)


@pytest.mark.parametrize(("mode", "suffix"), [("LA", "png"), ("RGBA", "png"), ("CMYK", "tif")])
def test_transparency_and_other_colours_give_the_same_numbers(tmp_path, mode, suffix):
    values = np.array([[0, 255], [255, 0]], np.uint8)
    path = tmp_path / f"m.{suffix}"
    Image.fromarray(values).convert("RGB").convert(mode).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    assert read_values(path).tolist() == values.tolist()


def test_colours_of_a_palette_where_they_are_asked_for(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([9, 9, 9, 2, 3, 4])
    image.save(tmp_path / "p.png")
    assert read_values(tmp_path / "p.png").tolist() == [[0, 1]]
    assert read_values(tmp_path / "p.png", colors=True).tolist() == [[9 * 65793, 262914]]


def test_what_is_no_image_is_named_once(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"text")
    for read, kind in ((inspect_image, "an image"), (read_values, "a mask")):
        with pytest.raises(UnreadableError, match=f"not readable as {kind}") as raised:
            read(path)
        assert str(raised.value).startswith(f"{path}: ")


def test_an_image_of_16_bits_is_named_once(tmp_path):
    path = save(tmp_path / "deep.png", np.array([[0, 300]], np.uint16))
    with pytest.raises(UnreadableError, match="not readable as an image") as raised:
        inspect_image(path)
    assert str(raised.value).count("deep.png") == 1


def test_a_transparent_palette_gives_its_indices(tmp_path, monkeypatch):
    # No file is opened in this mode by today's Pillow.
    image = Image.fromarray(np.array([[3, 1]], np.uint8))
    image.putpalette(bytes(range(256)) * 3)
    image = image.convert("PA")
    image.format = "PNG"
    monkeypatch.setattr(Image, "open", lambda path: image)
    assert read_values(tmp_path / "p.png").tolist() == [[3, 1]]


def test_a_jpeg_of_several_pictures_is_no_mask_of_numbers(tmp_path):
    pictures = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 255)]
    pictures[0].save(tmp_path / "m.mpo", save_all=True, append_images=pictures[1:])
    with pytest.raises(UnreadableError, match=r"m\.mpo: JPEG changes the values"):
        read_values(tmp_path / "m.mpo")
