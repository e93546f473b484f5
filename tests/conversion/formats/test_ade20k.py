"""ADE20K: full annotations, scene parsing, lists of objects."""

import numpy as np
import pytest
from annotation_files import BOX, SIZE, ade_mask, only, write
from converted_sets import save_image, save_mask

from detr_d2.conversion.classes import SourceClass, choose_things
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.ade20k import read_objects
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


@pytest.mark.parametrize("year", [2016, 2021])
def test_ade20k_full(tmp_path, converted, year):
    stem = tmp_path / "images/ADE/training/work place/ADE_train_1"
    save_image(stem.with_suffix(".jpg"), SIZE)
    save_mask(stem.with_name("ADE_train_1_seg.png"), ade_mask())
    named = [("wall", 2978), ("wall", 2978), ("door, gate", 1797)]
    if year == 2016:
        lines = [f'{i:03d} # 0 # 0 # {name} # {name} # ""' for i, (name, _) in enumerate(named, 1)]
        write(
            stem.with_name("ADE_train_1_atr.txt"),
            "\n".join([*lines, '001 # 1 # 0 # knob # k # ""']),
        )
    else:
        objects = [
            {"id": i, "name": name, "name_ndx": n, "parts": {"part_level": 0}}
            for i, (name, n) in enumerate(named)
        ]
        write(stem.with_suffix(".json"), {"annotation": {"object": objects}})
    result = converted("ade20k", ALL, folder=str(tmp_path), stuff=("wall",))
    name = "images/ADE/training/work place/ADE_train_1.jpg"
    wall = (ade_mask()[..., 0] == 110).tobytes()
    door = (ade_mask()[..., 2] == 255).tobytes()
    assert result.masks(name) == [("door, gate", door), ("wall", wall)]


def test_a_class_may_be_named_by_one_of_its_synonyms():
    """Names of ADE20K hold commas, which divide names on a command line."""
    names = ["wall", "door, gate", "gate, portal", "wall, screen"]
    classes = [SourceClass(name, name, True) for name in names]
    chosen = choose_things(classes, stuff=("wall", "portal"))
    assert [c.name for c in chosen if not c.isthing] == ["wall", "gate, portal"]
    with pytest.raises(ValueError, match=r"\['gate'\] are no classes"):
        choose_things(classes, stuff=("gate",))


def test_ade20k_names_that_do_not_fit_are_rejected(tmp_path, converted):
    save_image(tmp_path / "training/a.jpg", SIZE)
    save_mask(tmp_path / "training/a_seg.png", ade_mask())
    write(tmp_path / "training/a_atr.txt", '001 # 0 # 0 # wall # wall # ""')
    with pytest.raises(ValueError, match="3 instances, but 1 objects are named"):
        converted("ade20k", folder=str(tmp_path))
    same = "\n".join(f'{i} # 0 # 0 # wall # wall # ""' for i in (1, 2, 3))
    write(tmp_path / "training/a_atr.txt", same)
    with pytest.raises(ValueError, match="class index 1797, which is not that of 'wall'"):
        converted("ade20k", folder=str(tmp_path))


def test_ade20k_scene_parsing(tmp_path, converted):
    save_image(tmp_path / "images/training/ADE_1.jpg", SIZE)
    values = np.where(BOX, 2, 0).astype(np.uint8)
    save_mask(tmp_path / "annotations/training/ADE_1.png", values)
    write(
        tmp_path / "objectInfo150.txt",
        "Idx\tRatio\tStuff\tName\n1\t0.1\t1\twall\n2\t0.1\t0\tcar \n",
    )
    result = converted("ade20k", ALL, folder=str(tmp_path), part="training")
    np.testing.assert_array_equal(only(result, "ADE_1.jpg", "car"), BOX)
    assert {c["id"]: (c["name"], c["isthing"]) for c in result.content["categories"]} == {
        1: ("wall", 0),
        2: ("car", 1),
    }


def atr(*objects: tuple[int, int, str]) -> str:
    return "\n".join(
        f'{n:03d} # {part} # 0 # {name} # {name}, raw # ""' for n, part, name in objects
    )


def test_objects_of_ade20k(tmp_path):
    """Number, name and class of whole objects, whatever their order; one alone has no list."""
    text = write(
        tmp_path / "a_atr.txt", atr((2, 0, "b"), (1, 0, "a"), (1, 1, "knob")) + "\nx # y\n"
    )
    assert read_objects(text) == [(2, "b", None), (1, "a", None)]
    one = {"id": "3", "name": "wall", "name_ndx": 12, "parts": {"part_level": "0"}}
    path = write(tmp_path / "a.json", {"annotation": {"object": one}})
    assert read_objects(path) == [(3, "wall", 12)]
    part = {**one, "parts": {"part_level": 1}}
    write(tmp_path / "a.json", {"annotation": {"object": [part, one]}})
    assert read_objects(path) == [(3, "wall", 12)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", {}),
        ("a.json", "{"),
        ("a.json", {"annotation": {"object": [5]}}),
        ("a_atr.txt", "a # b # c # d # e"),
    ],
)
def test_lists_of_objects_that_are_none_are_named(tmp_path, name, content):
    save_image(tmp_path / "a.jpg", SIZE)
    save_mask(tmp_path / "a_seg.png", ade_mask())
    write(tmp_path / name, content)
    (item,) = open_format("ade20k", folder=str(tmp_path)).skipped
    assert item.name == f"{tmp_path}/a.jpg"
    assert item.reason.startswith(f"{tmp_path}/{name}: no list of objects of ADE20K")


def test_objects_of_ade20k_are_the_values_of_blue_in_order(tmp_path, converted):
    """The text lists them in any order; the JSON of 2021 is preferred."""
    save_image(tmp_path / "training/a.jpg", SIZE)
    save_mask(tmp_path / "training/a_seg.png", ade_mask())
    objects = atr((3, 0, "door"), (2, 0, "wall"), (1, 0, "wall"))
    write(tmp_path / "training/a_atr.txt", objects)
    result = converted("ade20k", folder=str(tmp_path))
    labels = result.labels("training/a.jpg")
    assert (labels[2, 3], labels[10, 3], labels[2, 20], labels[0, 0]) == (
        "wall",
        "wall",
        "door",
        "",
    )
    known = {"id": 0, "name": "wall", "name_ndx": 2978, "parts": {"part_level": 0}}
    write(tmp_path / "training/a.json", {"annotation": {"object": [known]}})
    with pytest.raises(
        ValueError, match=r"a_seg\.png: instance 255 has class index 1797, which is"
    ):
        converted("ade20k", folder=str(tmp_path))


def test_parts_and_files_of_ade20k(tmp_path):
    for name in ("training/a", "training/b", "training/c", "training 2/d"):
        save_image(tmp_path / f"{name}.jpg", SIZE)
        save_mask(tmp_path / f"{name}_seg.png", ade_mask())
        write(tmp_path / f"{name}_atr.txt", atr((1, 0, name[-1]), (1, 0, "wall")))
    (tmp_path / "training/b_seg.png").unlink()
    (tmp_path / "training/c_atr.txt").unlink()
    opened = open_format("ade20k", folder=str(tmp_path), part="training")
    (sample,) = opened.samples
    assert sample.inputs == tuple(f"{tmp_path}/training/a_{end}" for end in ("seg.png", "atr.txt"))
    assert [c.name for c in opened.classes] == ["a", "wall"]
    assert [item.name for item in opened.skipped] == [f"{tmp_path}/training/{n}.jpg" for n in "bc"]
    assert "there is no" in opened.skipped[0].reason
    assert len(open_format("ade20k", folder=str(tmp_path)).samples) == 2


def test_scenes_of_ade20k_without_their_files_are_told(tmp_path):
    for name in "ab":
        save_image(tmp_path / f"images/{name}.jpg", SIZE)
    save_mask(tmp_path / "annotations/a.png", np.ones(SIZE, np.uint8))
    with pytest.raises(FileNotFoundError, match=r"objectInfo150\.txt: no such file; it names"):
        open_format("ade20k", folder=str(tmp_path))
    write(tmp_path / "objectInfo150.txt", "\nIdx\tName\n\n 7\twall\n")
    opened = open_format("ade20k", folder=str(tmp_path))
    assert [(c.key, c.name, c.isthing, c.wanted_id) for c in opened.classes] == [
        (7, "wall", False, 7)
    ]
    assert [sample.inputs for sample in opened.samples] == [(f"{tmp_path}/annotations/a.png",)]
    (item,) = opened.skipped
    assert (item.name, item.reason) == (
        f"{tmp_path}/images/b.jpg",
        f"there is no {tmp_path}/annotations/b.png",
    )
    write(tmp_path / "objectInfo150.txt", "Index\tName\n")
    with pytest.raises(
        ValueError, match=r"objectInfo150\.txt: no columns Idx and Name, but \['Ind"
    ):
        open_format("ade20k", folder=str(tmp_path))
