"""Pascal VOC, Mapillary Vistas and ADE20K as they are on disk."""

from pathlib import Path

import numpy as np
import pytest
from annotation_files import BOX, MAPILLARY, SIZE, ade_mask, mapillary_instances, only, write
from converted_sets import save_image, save_mask
from random_panoptic import save_ids

from detr_d2.conversion.classes import SourceClass, choose_things
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.formats.ade20k import read_objects
from detr_d2.conversion.formats.cityscapes import rasterize_labels
from detr_d2.conversion.formats.pascal_voc import color_of
from detr_d2.conversion.rasterize import Rules
from detr_d2.data.image_io import UnreadableError

ALL = Rules(min_area=0)


def test_pascal_voc_palette_border_and_boxes(tmp_path, converted):
    """The challenge's own files: palette, 255 for the border; images with boxes only are named."""
    from PIL import Image

    palette = [channel for index in range(256) for channel in color_of(index)]
    kinds = {"SegmentationClass": 15, "SegmentationObject": 1}
    for folder, value in kinds.items():
        values = np.where(BOX, value, 0).astype(np.uint8)
        values[3, 2:12] = 255
        png = Image.fromarray(values, "P")
        png.putpalette(palette)
        (tmp_path / folder).mkdir()
        png.save(tmp_path / folder / "a.png")
    for name in ("a", "b"):
        save_image(tmp_path / f"JPEGImages/{name}.jpg", SIZE)
        write(tmp_path / f"Annotations/{name}.xml", "<annotation/>")
    result = converted("pascal-voc", ALL, folder=str(tmp_path))
    expected = BOX.copy()
    expected[3] = False
    np.testing.assert_array_equal(only(result, "a.jpg", "person"), expected)
    assert {c["name"]: c["id"] for c in result.content["categories"]}["tvmonitor"] == 20
    (item,) = result.report.skipped
    assert item.reason.startswith("only boxes; masks are needed")


def test_mapillary_instances(tmp_path, converted):
    """Label 0 has instances too, and its first instance is number 0."""
    save_image(tmp_path / "training/images/a_1.jpg", SIZE)
    write(tmp_path / "config_v2.0.json", MAPILLARY)
    save_mask(tmp_path / "training/v2.0/instances/a_1.png", mapillary_instances())
    result = converted("mapillary", ALL, folder=str(tmp_path))
    numbers = mapillary_instances()
    birds = [("animal--bird", (numbers == n).tobytes()) for n in (0, 1)]
    assert result.masks("a_1.jpg") == sorted([*birds, ("nature--sky", (numbers == 256).tobytes())])
    assert {c["name"]: c["isthing"] for c in result.content["categories"]} == {
        "animal--bird": 1,
        "nature--sky": 0,
    }
    (tmp_path / "training/v1.2").mkdir()
    with pytest.raises(ValueError, match=r"say which version \(--version\)"):
        open_format("mapillary", folder=str(tmp_path))


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


def pascal(root, label_map: str | None = None, names=("a",), objects=None) -> dict:
    """Images whose BOX is an object of the first class, red, or of the colours of an array."""
    for name in names:
        save_image(root / f"JPEGImages/{name}.jpg", SIZE)
        for folder in ("SegmentationClass", "SegmentationObject"):
            mask = np.where(BOX[..., None], np.uint8([128, 0, 0]), np.uint8(0))
            save_mask(root / folder / f"{name}.png", mask if objects is None else objects)
    if label_map is not None:
        write(root / "labelmap.txt", label_map)
    return {"folder": str(root)}


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        (
            "# label:color::\n\nbackground:0,0,0::\nnut:128,0,0::\nignored:224,224,192::\n",
            [("nut", (128, 0, 0))],
        ),
        # The border's colour may be a class; ignored may have another one.
        (
            "nut:128,0,0::\nedge:224,224,192::\nignored:9,9,9::",
            None,
        ),
        ("nut: 128, 0,0\npit:0,255,1:part:act", [("nut", (128, 0, 0)), ("pit", (0, 255, 1))]),
        # Without colours: those of the challenge, from the background's on.
        ("background\nnut\npit:::", [("nut", (128, 0, 0)), ("pit", (0, 128, 0))]),
    ],
)
def test_the_classes_of_a_label_map(tmp_path, text, classes):
    if classes is None:
        with pytest.raises(ValueError, match="are both a class and void"):
            open_format("pascal-voc", **pascal(tmp_path, text))
        return
    opened = open_format("pascal-voc", **pascal(tmp_path, text))
    assert [(c.name, c.color) for c in opened.classes] == classes
    assert all(c.isthing for c in opened.classes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# names\nnut:1,2,3\npit", "line 3: must be NAME:RED,GREEN,BLUE::"),
        ("nut:1,2", "line 1: must be"),
        ("nut:1,2,256", "line 1: must be"),
        ("nut:1,2,x", "line 1: must be"),
        ("nut:1,2,3,4", "line 1: must be"),
        ("nut:1,2,3\npit:1,2,3", "nut and pit have one colour"),
    ],
)
def test_lines_of_a_label_map_that_are_wrong_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"labelmap\.txt: {message}"):
        open_format("pascal-voc", **pascal(tmp_path, text))


def test_the_colours_of_the_challenge():
    """1 and 2 are red and green; 8 is the first that has the second bit, 20 has two channels."""
    colors = [color_of(index) for index in (0, 1, 2, 4, 8, 20, 255)]
    assert colors[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128)]
    assert colors[4:] == [(64, 0, 0), (0, 64, 128), (224, 224, 192)]


def test_a_list_of_pascal_voc_and_what_is_absent(tmp_path):
    options = pascal(tmp_path, names=("a", "b 1", "c"))
    write(tmp_path / "ImageSets/Segmentation/val.txt", "b 1 \nc\n")
    (tmp_path / "SegmentationObject/c.png").unlink()
    opened = open_format("pascal-voc", **options, part="val")
    (sample,) = opened.samples
    masks = [f"{tmp_path}/Segmentation{kind}/b 1.png" for kind in ("Class", "Object")]
    assert (sample.name, list(sample.inputs)) == ("b 1.jpg", masks)
    (item,) = opened.skipped
    assert item.reason == f"there is no {tmp_path}/SegmentationObject/c.png"
    assert opened.classes[14].name == "person"
    assert [c.wanted_id for c in opened.classes] == list(range(1, 21))


def streets(root, version: str = "v2.0", **config) -> dict:
    """A part of Mapillary Vistas with one image and instance PNGs."""
    save_image(root / "training/images/a.jpg", SIZE)
    save_mask(root / "training" / version / "instances/a.png", mapillary_instances())
    write(root / "config_v2.0.json", {**MAPILLARY, **config})
    return {"folder": str(root)}


def test_the_version_of_mapillary(tmp_path):
    """With two, one must be named; its own configuration comes first."""
    options = streets(tmp_path)
    labels = [{"name": "old", "instances": False, "evaluate": True}] * 3
    write(tmp_path / "config_v1.2.json", {**MAPILLARY, "labels": labels})
    assert open_format("mapillary", **options).classes[0].name == "animal--bird"
    with pytest.raises(ValueError, match=r"no version 'v1\.2', only \['v2\.0'\]"):
        open_format("mapillary", **options, version="v1.2")
    streets(tmp_path, "v1.2")
    with pytest.raises(ValueError, match=r"--version\): \['v1\.2', 'v2\.0'\]"):
        open_format("mapillary", **options)
    names = [
        open_format("mapillary", **options, version=v).classes[0].name for v in ("v1.2", "v2.0")
    ]
    assert names == ["old", "animal--bird"]


def test_mapillary_without_folder_of_a_version(tmp_path):
    streets(tmp_path)
    (tmp_path / "training/v2.0/instances").rename(tmp_path / "training/instances")
    (tmp_path / "training/v2.0").rmdir()
    save_image(tmp_path / "training/images/b.jpg", SIZE)
    for version in (None, "v2.0"):
        opened = open_format("mapillary", folder=str(tmp_path), version=version)
        mask = f"{tmp_path}/training/instances/a.png"
        assert [sample.inputs for sample in opened.samples] == [(mask,)]
        (item,) = opened.skipped
        assert item.name == f"{tmp_path}/training/images/b.jpg"
        assert item.reason == f"there is no {tmp_path}/training/instances/b.png"
    with pytest.raises(FileNotFoundError, match="validation: has neither panoptic nor instances"):
        open_format("mapillary", folder=str(tmp_path), part="validation")
    (tmp_path / "config_v2.0.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config_training\.json: no such file, nor"):
        open_format("mapillary", folder=str(tmp_path))


@pytest.mark.parametrize("labels", [5, [5], [{"name": "a", "instances": True}]])
def test_a_configuration_of_mapillary_that_is_none_is_named(tmp_path, labels):
    with pytest.raises(ValueError, match=r"config_v2\.0\.json: no list of labels with name, inst"):
        open_format("mapillary", **streets(tmp_path, labels=labels))


def test_a_number_of_mapillary_without_label_is_named(tmp_path, converted):
    options = streets(tmp_path)
    numbers = np.full(SIZE, 3 * 256 - 1, np.uint16)
    save_mask(tmp_path / "training/v2.0/instances/a.png", numbers)
    assert converted("mapillary", **options).segments("a.jpg") == []
    save_mask(tmp_path / "training/v2.0/instances/a.png", numbers + 1)
    with pytest.raises(ValueError, match=r"a\.png: number 768 is of label 3, which is none"):
        converted("mapillary", **options)


def test_panoptic_files_of_mapillary_come_first(tmp_path, converted):
    """They lie with their JSON; turned and scaled as the others."""
    options = streets(tmp_path)
    truth = tmp_path / "training/v2.0/panoptic"
    save_ids(truth / "a.png", np.full((10, 15), 9, np.int32))
    annotation = {"image_id": "a", "file_name": "a.png"}
    content = {
        "images": [{"id": "a", "file_name": "a.jpg"}, {"id": "b", "file_name": "b.jpg"}],
        "annotations": [
            {**annotation, "segments_info": [{"id": 9, "category_id": 3, "iscrowd": 1}]}
        ],
        "categories": [{"id": 3, "name": "bird", "isthing": 1}],
    }
    write(truth / "panoptic_2020.json", content)
    with pytest.raises(ValueError, match="15x10 pixels, but its image has 30x20"):
        converted("mapillary", **options)
    result = converted("mapillary", **options, resize=True)
    assert [(s["area"], s["iscrowd"]) for s in result.segments("a.jpg")] == [(600, 1)]
    (item,) = result.report.skipped
    assert (item.name, item.reason) == ("b.jpg", "no annotation belongs to it")


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


def streets_of_cities(root, kind: str, *names: str) -> str:
    """Images of Cityscapes with polygons, by part and city."""
    for name in names:
        save_image(root / f"leftImg8bit/{name}_leftImg8bit.png", SIZE)
        content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": []}
        write(root / f"{kind}/{name}_{kind}_polygons.json", content)
    return str(root)


def test_images_of_cityscapes(tmp_path):
    folder = streets_of_cities(tmp_path, "gtCoarse", "train/ulm/a", "val/bonn/b", "test/bonn/c")
    save_image(tmp_path / "leftImg8bit/val/bonn/notes.png", SIZE)
    save_image(tmp_path / "leftImg8bit/val/bonn/d_leftImg8bit.png", SIZE)
    opened = open_format("cityscapes", folder=folder, ground_truth="gtCoarse")
    names = ["train/ulm/a_leftImg8bit.png", "val/bonn/b_leftImg8bit.png"]
    assert [sample.name for sample in opened.samples] == names
    images, truth = f"{tmp_path}/leftImg8bit", f"{tmp_path}/gtCoarse"
    assert [(item.name, item.reason) for item in opened.skipped] == [
        (f"{images}/test/bonn/c_leftImg8bit.png", "the test part has no ground truth"),
        (f"{images}/val/bonn/d_leftImg8bit.png", f"no {truth}/val/bonn/d_gtCoarse_instanceIds.png"),
        (f"{images}/val/bonn/notes.png", "its name does not end in _leftImg8bit.png"),
    ]
    # Of two files, the PNG is the ground truth.
    png = f"{truth}/train/ulm/a_gtCoarse_instanceIds.png"
    save_mask(Path(png), np.zeros(SIZE, np.uint16))
    opened = open_format("cityscapes", folder=folder, ground_truth="gtCoarse", part="train")
    assert [(s.name, s.inputs) for s in opened.samples] == [("ulm/a_leftImg8bit.png", (png,))]


SQUARE = [[2, 3], [5, 3], [5, 6], [2, 6]]


@pytest.mark.parametrize(
    ("objects", "numbers"),
    [
        ([("car", SQUARE), ("cargroup", SQUARE)], {0, 26}),
        ([("car", SQUARE), ("car", [[9, 9], [12, 9], [12, 12]])], {0, 26000, 26001}),
        ([("trailer", SQUARE), ("caravan", [[9, 9], [12, 9], [12, 12]])], {0, 30000, 29000}),
        ([("license plate", SQUARE), ("road", SQUARE)], {0, 7}),
        # A line has pixels too, a point has none.
        ([("pole", [[9, 9], [9, 15]]), ("sky", [[0, 0]])], {0, 17}),
        ([("polegroup", SQUARE)], {0, 18}),
    ],
)
def test_polygons_of_cityscapes(tmp_path, objects, numbers):
    shapes = [{"label": label, "polygon": polygon} for label, polygon in objects]
    shapes.append({"label": "sky", "polygon": SQUARE, "deleted": 1})
    content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": shapes}
    found = rasterize_labels(write(tmp_path / "x.json", content))
    assert found.shape == SIZE
    assert set(np.unique(found).tolist()) == numbers


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ({"shapes": []}, "has no objects and size of Cityscapes"),
        ({"imgWidth": 30, "objects": []}, "size .None, 30.; must be"),
        ({"imgWidth": 30, "imgHeight": 20, "objects": [5]}, "object 0: label None is none of City"),
        (
            {
                "imgWidth": 30,
                "imgHeight": 20,
                "objects": [{"label": "groupcar", "polygon": SQUARE}],
            },
            "object 0: label 'groupcar' is none of Cityscapes",
        ),
    ],
)
def test_files_that_are_no_polygons_of_cityscapes_are_named(tmp_path, content, message):
    with pytest.raises(UnreadableError, match=rf"x\.json: {message}"):
        rasterize_labels(write(tmp_path / "x.json", content))
