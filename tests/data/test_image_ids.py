import hashlib
import json

import pytest

from detr_d2.data.image_ids import ImageEntry, ImageIds

IMAGES = [
    {"id": 700, "file_name": "a.jpg"},
    {"id": 3, "file_name": "deep/b.png"},
    {"id": 41, "file_name": "one/c.jpg"},
    {"id": 40, "file_name": "two/c.jpg"},
]


@pytest.fixture
def ids(tmp_path):
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"images": IMAGES}))
    return ImageIds(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", (700, "a.jpg")),
        ("val/a.jpg", (700, "a.jpg")),  # the folder above was given
        ("b.png", (3, "deep/b.png")),  # the file itself was given
        ("deep/b.png", (3, "deep/b.png")),
        ("val/two/c.jpg", (40, "two/c.jpg")),
    ],
)
def test_an_image_is_found_by_the_part_of_its_path_that_is_known(ids, name, expected):
    assert ids(name) == ImageEntry(*expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c.jpg", r"c\.jpg: .*several: \['one/c.jpg', 'two/c.jpg'\]"),
        ("other/b.png", r"other/b\.png: .*no such image"),
        ("a.png", r"a\.png: .*no such image"),
    ],
)
def test_what_is_unknown_or_ambiguous_is_rejected_by_name(ids, name, message):
    with pytest.raises(ValueError, match=message):
        ids(name)


def test_the_exact_name_wins_over_a_longer_one(tmp_path):
    (tmp_path / "set.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "x/a.jpg"}, {"id": 2, "file_name": "a.jpg"}]})
    )
    assert ImageIds(tmp_path / "set.json")("a.jpg").id == 2


def test_all_faults_are_reported_together(ids):
    with pytest.raises(ValueError, match=r"c\.jpg: .*\n.*d\.jpg: ") as raised:
        ids.check(["a.jpg", "c.jpg", "d.jpg"])
    assert "a.jpg" not in str(raised.value)
    with pytest.raises(ValueError, match=r"a\.jpg and val/a\.jpg are the same image, a\.jpg"):
        ids.check(["a.jpg", "val/a.jpg"])
    ids.check(["a.jpg", "two/c.jpg", "one/c.jpg", "b.png"])


def test_without_a_set_an_id_is_that_of_the_name_and_of_no_set():
    first, second = ImageIds()("deep/a.jpg"), ImageIds()("a.jpg")
    assert first == ImageIds()("deep/a.jpg") and first.file_name == "deep/a.jpg"
    assert first.id != second.id
    assert 2**32 < first.id < 2**48 and 2**32 < second.id < 2**48


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no list images"),
        ({"images": [{"id": "7", "file_name": "a.jpg"}]}, "image 0: id '7'"),
        ({"images": [{"id": True, "file_name": "a.jpg"}]}, "image 0: id True"),
        ({"images": [{"id": 7}]}, "file_name None"),
        (
            {"images": [{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]},
            "two images have the same id",
        ),
    ],
)
def test_malformed_sets(tmp_path, content, message):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        ImageIds(tmp_path / "x.json")


def test_ids_of_names_never_change():
    """They are in the files of earlier runs: the first 48 bits of the name's SHA-256."""
    assert ImageIds()("a.jpg").id == int(hashlib.sha256(b"a.jpg").hexdigest()[:12], 16)
    # A name that is not UTF-8, as file systems give it.
    assert ImageIds()("\udcff.jpg").id == int(hashlib.sha256(b"\xff.jpg").hexdigest()[:12], 16)


@pytest.mark.parametrize(("count", "more"), [(10, None), (11, 1), (14, 4)])
def test_ten_faults_are_shown(ids, count, more):
    with pytest.raises(ValueError, match="image ids:") as raised:
        ids.check([f"x{number}.jpg" for number in range(count)])
    lines = str(raised.value).splitlines()
    assert len(lines) == 1 + 10 + (more is not None)
    assert more is None or lines[-1].strip() == f"... and {more} more"


def test_ten_images_of_one_name_are_shown(tmp_path):
    images = [{"id": number, "file_name": f"{number}/a.jpg"} for number in range(12)]
    (tmp_path / "set.json").write_text(json.dumps({"images": images}))
    with pytest.raises(ValueError, match="several: ") as raised:
        ImageIds(tmp_path / "set.json")("a.jpg")
    assert "'9/a.jpg'" in str(raised.value) and "'10/a.jpg'" not in str(raised.value)
