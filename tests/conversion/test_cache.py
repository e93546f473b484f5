"""What the cache tells apart, when it makes a set again, and what it says meanwhile."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from class_maps import write_class_maps

from detr_d2.conversion import cache
from detr_d2.conversion.cache import cache_folder, convert_into_cache, derive_into_cache
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules
from detr_d2.conversion.splits import Split
from detr_d2.data.categories import CategoryTable


@pytest.fixture
def source(tmp_path):
    write_class_maps(tmp_path, 4)
    return tmp_path


def options(source, **more):
    folders = {name: str(source / name) for name in ("images", "masks")}
    return {**folders, "values": "0=ground,1=nut", **more}


def convert(source, rules=None, split=None, part=None, name="nuts", workers=1, **more):
    place = source / "cache"
    return convert_into_cache(
        name, "semantic-png", options(source, **more), rules, split, part, place, workers
    )


def test_the_folder_is_the_one_given_or_the_environments_or_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("DETR_D2_CACHE", "~/big disk")
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder("~/mine") == Path("/home/ann/mine")
    assert cache_folder(None) == Path("/home/ann/big disk")
    monkeypatch.setenv("DETR_D2_CACHE", "")
    assert cache_folder(None) == Path("/home/ann/.cache/detr_d2")
    monkeypatch.delenv("DETR_D2_CACHE")
    assert cache_folder("") == cache_folder(None) == Path("/home/ann/.cache/detr_d2")


def test_paths_of_a_part(source):
    image_root, panoptic_root, whole = convert(source)
    assert sorted(os.listdir(image_root)) == [f"{i}.jpg" for i in range(4)]
    assert sorted(os.listdir(panoptic_root)) == [f"{i}.png" for i in range(4)]
    assert Path(whole).name == "panoptic.json"
    assert Path(whole).parent == Path(image_root).parent == Path(panoptic_root).parent
    assert Path(whole).parent.name.startswith("semantic-png-")
    half = Split(0.5)
    found = [convert(source, split=half, part=part)[2] for part in ("train", "val")]
    assert [Path(path).name for path in found] == ["panoptic_train.json", "panoptic_val.json"]
    names = [{i["file_name"] for i in json.loads(Path(p).read_text())["images"]} for p in found]
    assert len(names[0]) == len(names[1]) == 2 and not names[0] & names[1]


def test_what_is_asked_for_otherwise_lies_in_another_folder(source):
    """Two parts of one split share one, and so do two names."""
    asked = [
        {},
        {"rules": Rules(min_area=3)},
        {"split": Split(0.5), "part": "train"},
        {"split": Split(0.75), "part": "train"},
        {"split": Split(0.5, seed=1), "part": "train"},
        {"values": "0=ground,1=crack"},
    ]
    folders = [os.path.dirname(convert(source, **arguments)[2]) for arguments in asked]
    assert len(set(folders)) == len(asked)
    assert convert(source, name="other")[2] == os.path.join(folders[0], "panoptic.json")
    sizes = [
        len(json.loads(Path(folder, "panoptic_train.json").read_text())["images"])
        for folder in folders[2:4]
    ]
    assert sizes == [2, 3]


def test_rules_are_carried_out(source):
    segments = []
    for min_area in (10, 61):
        path = convert(source, Rules(min_area=min_area), things=("nut",))[2]
        content = json.loads(Path(path).read_text())
        segments.append(sum(len(a["segments_info"]) for a in content["annotations"]))
    # Nuts of 40, 60, 80 and 100 pixels on the ground.
    assert segments == [8, 6]


def test_a_conversion_gets_what_was_asked_for(source, monkeypatch):
    found, real = [], cache.convert_set

    def noted(annotation_format, folder, **arguments):
        found.append({key: value for key, value in arguments.items() if key != "progress"})
        assert arguments["progress"] is not None
        return real(annotation_format, folder, **{**arguments, "workers": 1})

    monkeypatch.setattr(cache, "convert_set", noted)
    rules, split = Rules(order="class"), Split(0.5, seed=4)
    for _ in range(2):
        convert(source, rules, split, "val", workers=3)
    assert found == [{"rules": rules, "split": split, "workers": 3}]


@pytest.mark.parametrize(
    ("split", "part"), [(Split(0.5), None), (None, "train"), (Split(0.5), "test"), (None, "")]
)
def test_a_part_needs_a_split_and_a_split_a_part(source, split, part):
    message = f"nuts: with split, part must be 'train' or 'val'; found {part!r}"
    with pytest.raises(ValueError, match=message):
        convert(source, split=split, part=part)
    assert not (source / "cache").exists()


def test_a_format_that_is_given_ready_takes_no_options(source):
    ready = open_format("semantic-png", **options(source))
    more = {"void": (3,), "resize": True}
    with pytest.raises(ValueError, match=r"nuts: options \['resize', 'void'\] need the annotation"):
        convert_into_cache("nuts", ready, more, None, None, None, source / "cache", 1)
    found = convert_into_cache("nuts", ready, {}, None, None, None, source / "cache", 1)
    assert found == convert(source)


def test_a_format_that_has_not_been_scanned_is_converted_when_its_files_change(source):
    def convert_ready():
        ready = replace(open_format("semantic-png", **options(source)))
        assert not ready.samples
        return convert_into_cache("nuts", ready, {}, None, None, None, source / "cache", 1)[2]

    path = Path(convert_ready())
    assert len(json.loads(path.read_text())["images"]) == 4
    state = path.stat().st_mtime_ns
    assert Path(convert_ready()).stat().st_mtime_ns == state
    (source / "masks/3.png").unlink()
    assert Path(convert_ready()) == path
    assert len(json.loads(path.read_text())["images"]) == 3


@pytest.mark.parametrize(("bad", "more"), [(0, None), (5, None), (7, "2 more skipped, see ")])
def test_skipped_images_are_named_the_first_five(tmp_path, caplog, bad, more):
    write_class_maps(tmp_path, 8)
    for number in range(bad):
        (tmp_path / f"images/{number}.jpg").write_bytes(b"no image")
    path = convert(tmp_path)[2]
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    named = [text for text in warnings if text.startswith("nuts: skipped ")]
    assert len(named) == min(bad, 5)
    for number, text in enumerate(named):
        assert text.startswith(f"nuts: skipped {number}.jpg: {tmp_path}/images/{number}.jpg: not")
    others = [text for text in warnings if text not in named]
    report = Path(path).with_name("conversion.json")
    assert others == ([f"nuts: {more}{report}"] if more else [])


@pytest.fixture
def derived(tiny_set, tmp_path, monkeypatch):
    """Derive from the tiny set; the number of records of every time that it was really done."""
    counts, real = [], cache.derive
    monkeypatch.setattr(
        cache, "derive", lambda records, *rest: (counts.append(len(records)), real(records, *rest))
    )

    def derive(**changes):
        paths = {key: str(path) for key, path in tiny_set.paths().items()}
        table = CategoryTable(tiny_set.content["categories"])
        arguments = {**paths, "table": table, **changes}
        return derive_into_cache("tiny", **arguments, cache=tmp_path / "cache")

    return derive, counts


def test_derived_files_are_made_once_until_json_or_pngs_change(tiny_set, derived, monkeypatch):
    derive, counts = derived
    folder = derive()
    assert Path(folder).name.startswith("separated-")
    assert {"instances.json", "stuff", "semantic"} <= set(os.listdir(folder))
    monkeypatch.chdir(tiny_set.root)
    # The same place by another name.
    assert derive(image_root="images") == folder
    assert counts == [3]
    state = tiny_set.json_path.stat()
    os.utime(tiny_set.json_path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert derive() == folder and counts == [3, 3]
    tiny_set.content["annotations"].pop()
    tiny_set.write()
    os.utime(tiny_set.json_path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert derive() == folder and counts == [3, 3, 2]
    pngs = tiny_set.root / "panoptic"
    os.utime(pngs, ns=(0, pngs.stat().st_mtime_ns + 1))
    assert derive() == folder and counts == [3, 3, 2, 2]
    # A run that was stopped has left no note.
    (Path(folder) / "derived-from").unlink()
    assert derive() == folder and derive() == folder and counts == [3, 3, 2, 2, 2]


def test_derived_files_of_other_places_and_classes_lie_elsewhere(tiny_set, derived):
    derive, counts = derived
    for name in ("images", "panoptic", "panoptic.json"):
        (tiny_set.root / f"other-{name}").symlink_to(name)
    renamed = [{**c, "name": f"{c['name']}s"} for c in tiny_set.content["categories"]]
    folders = [
        derive(),
        derive(image_root=str(tiny_set.root / "other-images")),
        derive(panoptic_root=str(tiny_set.root / "other-panoptic")),
        derive(panoptic_json=str(tiny_set.root / "other-panoptic.json")),
        derive(table=CategoryTable(renamed)),
    ]
    assert len(set(folders)) == len(counts) == 5
