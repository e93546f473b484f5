"""Classes, ids and names of the result, and what makes a conversion start anew."""

import json
import os

import pytest
from class_maps import write_class_maps

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.base import Sample
from detr_d2.conversion.plan import (
    complete_rules,
    conversion_fingerprint,
    map_classes,
    name_tasks,
)
from detr_d2.conversion.rasterize import Rules, TargetClass
from detr_d2.conversion.splits import Split


def semantic(root, **options):
    folders = {name: str(root / name) for name in ("images", "masks")}
    return open_format("semantic-png", **folders, **{"values": "0=ground,5=nut", **options})


@pytest.fixture
def source(tmp_path):
    write_class_maps(tmp_path, 2)
    return tmp_path


def test_things_are_those_of_the_rules_else_of_the_format(source):
    annotation_format = semantic(source)
    annotation_format.default_things = "region"
    assert complete_rules(annotation_format, None) == Rules(things="region")
    rules = Rules(order="class", min_area=3, closing=2, background_class="x")
    completed = Rules(order="class", min_area=3, closing=2, background_class="x", things="region")
    assert complete_rules(annotation_format, rules) == completed
    assert complete_rules(annotation_format, Rules(things="void")).things == "void"


def test_a_background_class_is_the_formats_or_a_new_one(source):
    annotation_format = semantic(source, things=("nut",))
    annotation_format.scan()
    targets = (TargetClass(0, False, 1), TargetClass(5, True, 2))

    mapping = map_classes(annotation_format, Rules())
    assert mapping.background_id is None and mapping.ids == {0: 1, 5: 2}
    own = map_classes(annotation_format, Rules(background_class="ground"))
    assert own.background_id == 1 and len(own.entries) == len(own.classes) == 2
    new = map_classes(annotation_format, Rules(background_class="rest"))
    assert new.background_id == 3 and new.ids == {0: 1, 5: 2, "everything else": 3}
    assert new.entries[2] == {"id": 3, "name": "rest", "isthing": 0, "supercategory": ""}
    for each in (mapping, own, new):
        assert each.targets(annotation_format) == targets
    # Things come first.
    assert [c.name for c in new.table().categories] == ["nut", "ground", "rest"]
    with pytest.raises(ValueError, match="background class 'nut' is a thing; it must be stuff"):
        map_classes(annotation_format, Rules(background_class="nut"))
    # The format's list is as it was.
    assert len(annotation_format.classes) == 2


def test_the_mapping_tells_both_names(source):
    annotation_format = semantic(source)
    annotation_format.scan()
    annotation_format.classes = [
        SourceClass(0, "nut", True),
        SourceClass("sky", "sky", False),
        SourceClass((1, 2), "sea", False),
    ]
    base = [{"id": 8, "name": "nut", "isthing": 1}]
    found = map_classes(annotation_format, Rules(), base).to_json()
    assert found == [
        {"source": 0, "source_name": "nut", "id": 9, "name": "nut_2", "isthing": 1},
        {"source": "sky", "source_name": "sky", "id": 10, "name": "sky", "isthing": 0},
        {"source": "(1, 2)", "source_name": "sea", "id": 11, "name": "sea", "isthing": 0},
    ]


def samples(*names, ids=None):
    ids = ids or [None] * len(names)
    return [Sample(n, None, None, image_id=i) for n, i in zip(names, ids, strict=True)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # Bare names, without extension and in any case, that occur twice get their folders.
        (["a/1.jpg", "b/1.png", "b/2.jpg"], ["a__1.jpg", "b__1.png", "b/2.jpg"]),
        (["a/b/IMG.jpg", "img.png"], ["a__b__IMG.jpg", "img.png"]),
        (["a/b.c.jpg", "b.jpg", "b.c/d.jpg"], ["a/b.c.jpg", "b.jpg", "b.c/d.jpg"]),
    ],
)
def test_names_of_the_result(names, expected):
    tasks = name_tasks(samples(*names))
    assert [task.file_name for task in tasks] == expected
    assert [task.sample.name for task in tasks] == names


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([30, 0, 20], [30, 0, 20]), ([30, None, 20], [1, 2, 3]), (None, [1, 2, 3])],
)
def test_image_ids_are_kept_where_every_image_has_one(ids, expected):
    tasks = name_tasks(samples("a.jpg", "b.jpg", "c.jpg", ids=ids))
    assert [task.image_id for task in tasks] == expected


def touch(path, size=0, time=0):
    """Make a file larger by some bytes, and its time of change later by some nanoseconds."""
    state = path.stat()
    with open(path, "ab") as file:
        file.write(b"\n" * size)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + time))


def test_the_fingerprint_changes_with_every_argument_and_file(source):
    def fingerprint(rules=None, *rest, **options):
        annotation_format = semantic(source, **options)
        annotation_format.scan()
        return conversion_fingerprint(annotation_format, rules or Rules(), *rest)

    assert fingerprint() == fingerprint()
    found = [
        fingerprint(),
        fingerprint(Rules(min_area=9)),
        fingerprint(None, Split(0.5)),
        fingerprint(None, Split(0.5, seed=1)),
        fingerprint(None, Split(0.5, group="(.)")),
        fingerprint(None, None, [{"id": 1, "name": "nut", "isthing": 1}]),
        fingerprint(None, None, [], "copy"),
        fingerprint(things=("nut",)),
        fingerprint(values="0=ground,5=crack"),
    ]
    for path in (source / "images/1.jpg", source / "masks/1.png"):
        touch(path, time=1)
        found.append(fingerprint())
        touch(path, size=1)
        found.append(fingerprint())
    for folder, name in (("images", "0.jpg"), ("masks", "0.png")):
        os.rename(source / folder / name, source / folder / f"0{name}")
    found.append(fingerprint())
    assert [found.index(each) for each in found] == list(range(len(found)))


def test_a_file_that_an_option_names_counts_too(source):
    path = source / "coco.json"
    image = {"id": 0, "file_name": "1.jpg", "height": 13, "width": 20}
    content = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "nut"}]}
    path.write_text(json.dumps(content))

    def fingerprint():
        folders = {"annotations": str(path), "images": str(source / "images")}
        annotation_format = open_format("coco-json", **folders)
        annotation_format.scan()
        return conversion_fingerprint(annotation_format, Rules())

    found = [fingerprint()]
    for change in ({"time": 1}, {"size": 1}):
        touch(path, **change)
        found.append(fingerprint())
    assert len(set(found)) == 3


def test_the_fingerprint_knows_no_order_of_files(source, monkeypatch):
    """That of a set of names differs from process to process."""
    annotation_format = semantic(source)
    annotation_format.scan()
    paths = [str(source / f"images/{number}.jpg") for number in range(9, 0, -1)]
    annotation_format.samples = [Sample("a.jpg", None, None, tuple(paths))]
    seen, state = [], os.stat(source)
    monkeypatch.setattr(os, "stat", lambda path: (seen.append(path), state)[1])
    conversion_fingerprint(annotation_format, Rules())
    monkeypatch.undo()
    assert seen[-9:] == paths[::-1]
