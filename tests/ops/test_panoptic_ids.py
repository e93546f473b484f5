import numpy as np
import pytest
from PIL import Image

from detr_d2.ops.panoptic_ids import MAX_ID, compact, id_to_rgb, read_ids, rgb_to_id


def test_red_is_the_lowest_byte():
    rgb = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 0], [112, 17, 1], [255] * 3]])

    ids = rgb_to_id(rgb.astype(np.uint8))

    assert ids.dtype == np.int32
    assert ids.tolist() == [[1, 256, 65536], [0, 70000, MAX_ID]]


def test_ids_become_the_colours_that_they_came_from():
    ids = np.array([[0, 1, 255], [256, 70000, MAX_ID]], np.int64)

    rgb = id_to_rgb(ids)

    assert rgb.dtype == np.uint8
    assert rgb[1, 1].tolist() == [112, 17, 1]
    assert rgb_to_id(rgb).tolist() == ids.tolist()


def test_narrow_integers_do_not_overflow():
    assert id_to_rgb(np.array([[255, 7]], np.uint8)).tolist() == [[[255, 0, 0], [7, 0, 0]]]


@pytest.mark.parametrize("wrong", [-1, MAX_ID + 1])
def test_ids_out_of_range_are_rejected(wrong):
    with pytest.raises(ValueError, match=str(wrong)):
        id_to_rgb(np.array([[3, wrong]]))


def test_wrong_shapes_and_types_are_rejected():
    with pytest.raises(ValueError, match="float"):
        id_to_rgb(np.zeros((2, 2)))
    for shape in ((3,), (2, 2, 1)):
        with pytest.raises(ValueError, match=r"expected an \(H, W\) integer array"):
            id_to_rgb(np.zeros(shape, np.int32))
    with pytest.raises(ValueError, match="int32"):
        rgb_to_id(np.zeros((2, 2, 3), np.int32))
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        rgb_to_id(np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("values", [[[7, 9], [9, 300]], [[-5, 2], [2, 40]], [[0, 2**22], [7, 0]]])
def test_values_are_listed_and_replaced_by_their_places(values):
    values = np.array(values)
    present, places = compact(values)
    assert present == sorted(set(values.ravel().tolist()))
    assert (np.array(present)[places] == values).all()


def test_empty_maps_pass():
    assert id_to_rgb(np.zeros((0, 4), np.int32)).shape == (0, 4, 3)
    assert rgb_to_id(np.zeros((0, 4, 3), np.uint8)).shape == (0, 4)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_ids_are_read_as_they_were_written(tmp_path, mode):
    # 70000 = 112 + 256 * 17 + 65536 * 1: all three channels differ.
    ids = np.array([[0, 1, 255], [256, 70000, MAX_ID]], np.int32)
    path = tmp_path / "ids.png"
    Image.fromarray(id_to_rgb(ids)).convert(mode).save(path)
    found = read_ids(path)
    assert found.dtype == np.int32
    assert found.tolist() == ids.tolist()


@pytest.mark.parametrize("mode", ["L", "P"])
def test_ids_are_not_read_from_grey_or_palette_files(tmp_path, mode):
    Image.fromarray(np.ones((4, 5), np.uint8)).convert(mode).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=f"grey.png: image mode {mode}"):
        read_ids(tmp_path / "grey.png")


def test_a_png_with_a_broken_chunk_is_named(tmp_path):
    """Noise takes several chunks of pixels; the name of the second one is overwritten."""
    path = tmp_path / "half (1).png"
    noise = np.random.default_rng(0).integers(0, MAX_ID, (200, 300))
    Image.fromarray(id_to_rgb(noise)).save(path)
    content = path.read_bytes()
    place = content.index(b"IDAT", content.index(b"IDAT") + 4)
    path.write_bytes(content[:place] + b"\x00\x01\x02\x03" + content[place + 4 :])
    with pytest.raises(OSError, match=r"half \(1\)\.png: no PNG that can be read"):
        read_ids(path)


def test_a_png_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match=r"absent\.png"):
        read_ids(tmp_path / "absent.png")
