"""Image files and folders of any kind: 16 bits, circles of links, names that are not UTF-8."""

import json
import os
import struct
import zlib

import convert_masks
import numpy as np
import pytest
from PIL import Image

from detr_d2.data.image_io import UnreadableError, files_below, inspect_image
from detr_d2.data.mapper import DetrMapper
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.visualization import read_image

JPG = frozenset({".jpg"})


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_images_of_more_than_8_bits_are_rejected_everywhere(tmp_path, mode):
    path = tmp_path / "deep.tif"
    values = np.full((4, 6), 4000, {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
    Image.fromarray(values).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    message = rf"deep\.tif: .*image mode {mode}; images must have 8 bits a channel"
    with pytest.raises(OSError, match=message):
        read_image(str(path))
    for is_train in (True, False):
        mapper = DetrMapper(is_train=is_train, augmentations=[], image_format="BGR")
        with pytest.raises(OSError, match=message):
            mapper({"file_name": str(path), "annotations": [], "height": 4, "width": 6})
    with pytest.raises(UnreadableError, match=message):
        inspect_image(path)


def write_png(path, width, height, *chunks):
    """A PNG of that size which ends in the midst of its pixels, or with other chunks there."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10))), *chunks):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        content += struct.pack(">I", len(data)) + kind + data + checksum
    path.write_bytes(content)


@pytest.mark.parametrize("read", [read_image, read_ids])
@pytest.mark.parametrize(
    ("size", "chunks"),
    [((30000, 30000), ()), ((8, 6), ()), ((8, 6), [(b"\0\0\0\0", b"")])],
    ids=["bomb", "truncated", "broken"],
)
def test_images_that_cannot_be_read_are_named(tmp_path, read, size, chunks):
    write_png(tmp_path / "a.png", *size, *chunks)
    with pytest.raises((OSError, ValueError), match=r"a\.png: ") as caught:
        read(str(tmp_path / "a.png"))
    assert str(caught.value).count("a.png") == 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_images_of_8_bits_or_fewer_are_read(tmp_path, mode):
    path = tmp_path / "plain.png"
    Image.fromarray(np.full((4, 6, 3), 255, np.uint8)).convert(mode).save(path)
    image = read_image(str(path))
    assert image.shape == (4, 6, 3) and (image == 255).all()


def test_files_of_a_circle_of_links_are_found_once(tmp_path):
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    (inner / "x.jpg").touch()
    for name in ("up", "again"):
        (inner / name).symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    assert files_below(tmp_path, JPG) == ["a/b/x.jpg"]
    (tmp_path / "start").symlink_to(inner)
    # Through the link all of the folder is seen from inside, each folder once on the way.
    assert "x.jpg" in files_below(tmp_path / "start", JPG)


def test_two_links_to_one_folder_are_both_followed(tmp_path):
    for name in ("store", "set"):
        (tmp_path / name).mkdir()
    (tmp_path / "store/x.jpg").touch()
    for name in ("one", "two"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store")
    assert files_below(tmp_path / "set", JPG) == ["one/x.jpg", "two/x.jpg"]


SHAPE = {"label": "nut", "points": [[1, 1], [6, 1], [6, 5]], "shape_type": "polygon"}


@pytest.fixture
def untidy_names(tmp_path):
    """Labelme files, one of them with a name in Latin-1."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in (b"plain", "grün".encode(), "grün".encode("latin-1")):
        stem = os.fsdecode(name)
        content = {"imagePath": "", "shapes": [SHAPE]}
        try:
            (folder / f"{stem}.json").write_text(json.dumps(content))
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        Image.fromarray(np.full((8, 9, 3), 90, np.uint8)).save(folder / f"{stem}.png")
    return folder


def test_a_name_that_is_not_utf_8_is_skipped_and_reported(untidy_names, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["labelme", "--folder", str(untidy_names), "--out", str(out), "--no-sheet"]
    assert convert_masks.main([*arguments, "--workers", "1"]) == convert_masks.EXIT_SKIPPED
    assert "its name is not UTF-8; rename it" in capsys.readouterr().out
    report = json.loads((out / "conversion.json").read_text())
    assert report["skipped"] == [
        {"name": "gr\\udcfcn.png", "reason": "its name is not UTF-8; rename it"}
    ]
    assert report["images_out"] == 2
    assert sorted(os.listdir(out / "images")) == ["grün.png", "plain.png"]


def test_a_folder_whose_name_is_not_utf_8_is_converted(untidy_names, tmp_path):
    (untidy_names / os.fsdecode(b"gr\xfcn.json")).unlink()
    folder = tmp_path / os.fsdecode(b"m\xfcll")
    untidy_names.rename(folder)
    out = tmp_path / "out"
    arguments = ["labelme", "--folder", str(folder), "--out", str(out), "--no-sheet"]
    assert convert_masks.main([*arguments, "--workers", "1"]) == 0
