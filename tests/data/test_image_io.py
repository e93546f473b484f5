"""Images are linked or copied, never encoded anew."""

import errno
import io
import os
from pathlib import Path

import pytest

from detr_d2.data.image_io import place_image


def test_a_link_shares_the_file_and_a_copy_does_not(tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(b"pixels")
    for mode in ("link", "copy"):
        place_image(image, tmp_path / mode / "deep" / "a.jpg", mode)
        assert (tmp_path / mode / "deep" / "a.jpg").read_bytes() == b"pixels"
    assert os.path.samefile(image, tmp_path / "link/deep/a.jpg")
    assert not os.path.samefile(image, tmp_path / "copy/deep/a.jpg")


def test_a_link_goes_to_the_file_behind_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"pixels")
    (tmp_path / "name.jpg").symlink_to("a.jpg")
    place_image(tmp_path / "name.jpg", tmp_path / "out" / "name.jpg")
    assert not (tmp_path / "out" / "name.jpg").is_symlink()
    assert (tmp_path / "out" / "name.jpg").read_bytes() == b"pixels"


def test_where_no_link_can_be_made_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a.jpg").write_bytes(b"pixels")
    place_image(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == b"pixels"
    assert not os.path.samefile(tmp_path / "a.jpg", tmp_path / "b.jpg")


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_bytes_are_written_and_an_earlier_image_is_replaced(tmp_path: Path, mode: str) -> None:
    place_image(io.BytesIO(b"old"), tmp_path / "a.jpg", mode)
    place_image(io.BytesIO(b"new"), tmp_path / "a.jpg", mode)
    assert (tmp_path / "a.jpg").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_another_mode_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"images 'move', allowed: \('link', 'copy'\)"):
        place_image(tmp_path / "a.jpg", tmp_path / "b.jpg", "move")
