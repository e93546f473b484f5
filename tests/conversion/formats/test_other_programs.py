"""Formats of annotation programs and public data sets, from small files as they document them."""

import numpy as np
import pytest
from annotation_files import (
    BOX,
    CORNERS,
    HEIGHT,
    MAPILLARY,
    PIECE,
    POLYGON,
    PROJECT,
    RECT,
    REGIONS,
    SIZE,
    VIA_1,
    VIA_2,
    WIDTH,
    ade_mask,
    labelbox_row,
    mapillary_instances,
    via_csv,
    write,
)
from converted_sets import save_image, save_mask

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


def only(result, name: str, label: str) -> np.ndarray:
    """The mask of the one segment of a class."""
    (found,) = [s for s in result.segments(name) if result.names[s["category_id"]] == label]
    return result.ids(name) == found["id"]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>nut</name></label>
<label><name>never used</name></label></labels><mode>{mode}</mode>{more}</task></meta>{body}
</annotations>"""
POINTS = ";".join(f"{x:.2f},{y:.2f}" for x, y in CORNERS)


def test_cvat_for_images(tmp_path, converted):
    shapes = f"""
<polygon label="nut" occluded="0" points="{POINTS}" z_order="1"></polygon>
<mask label="leaf" rle="1, 2, 1" left="20" top="10" width="2" height="2" z_order="0"></mask>
<polygon label="nut" points="15,0;18,0;18,2;15,2" group_id="4"/>
<polygon label="nut" points="25,0;28,0;28,2;25,2" group_id="4"/>
<ellipse label="disc" cx="5" cy="15" rx="3" ry="2"/><tag label="good"/>"""
    image = (
        f'<image id="0" name="up/x.y (1).png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
    )
    path = write(tmp_path / "x.xml", CVAT.format(mode="annotation", more="", body=image))
    save_image(tmp_path / "images/up/x.y (1).png", SIZE)
    result = converted("cvat", ALL, annotations=path, images=str(tmp_path / "images"))
    name = "up/x.y (1).png"
    areas = [(result.names[s["category_id"]], s["area"]) for s in result.segments(name)]
    assert sorted(areas) == [("disc", 20), ("leaf", 2), ("nut", 12), ("nut", 50)]
    leaf = np.argwhere(only(result, name, "leaf"))
    assert leaf.tolist() == [[10, 21], [11, 20]], "row by row"
    assert set(result.names.values()) == {"nut", "never used", "leaf", "disc"}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<box label="nut" xtl="0" ytl="0" xbr="5" ybr="5"/>', "only a box; a mask is needed"),
        ('<polyline label="nut" points="0,0;5,5"/>', "a polyline has no area"),
        ('<polygon label="nut" points="0,0;5,5"/>', "2 points, a polygon has 3 or more"),
        ('<polygon label="nut" points="0,0;5,5;nan,1"/>', "coordinate nan is not within"),
        ('<polygon label="nut" points="0,0;5,5;1e9,1"/>', r"coordinate 1e\+09 is not within"),
        ('<polygon label="nut" points="0,0;5,x;1,1"/>', "could not convert"),
        ('<polygon points="0,0;5,5;1,5"/>', "shape 0 has no label"),
        ('<mask label="nut" rle="1,1" left="0" top="0" width="2" height="2"/>', "sum 2; .* fill 4"),
        ('<mask label="nut" rle="4" left="29" top="0" width="2" height="2"/>', "is outside"),
        ('<mask label="nut" rle="a" left="0" top="0" width="2" height="2"/>', "no list of numbers"),
        ('<mask label="nut" rle="4" left="0" top="0" width="999999" height="999999"/>', "above"),
    ],
)
def test_bad_shapes_of_cvat_are_named(tmp_path, converted, shape, message):
    image = f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{shape}</image>'
    path = write(tmp_path / "x.xml", CVAT.format(mode="annotation", more="", body=image))
    save_image(tmp_path / "images/a.png", SIZE)
    options = {"annotations": path, "images": str(tmp_path / "images")}
    with pytest.raises(ValueError, match=message):
        converted("cvat", **options)
    result = converted("cvat", **options, skip_bad_annotations=True)
    assert result.report.bad_annotations[0].count == 1


def video(tmp_path, shapes: str, count: int = 5, name: str = "frame_{:06d}.png") -> dict:
    for number in range(count):
        save_image(tmp_path / "images" / name.format(number), SIZE, number)
    more = (
        f"<start_frame>0</start_frame><stop_frame>{count - 1}</stop_frame><original_size>"
        f"<width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    )
    track = f'<track id="7" label="nut">{shapes}</track>'
    path = write(tmp_path / "x.xml", CVAT.format(mode="interpolation", more=more, body=track))
    return {"annotations": path, "images": str(tmp_path / "images")}


def seen(frame: int, outside: int = 0) -> str:
    return f'<polygon frame="{frame}" outside="{outside}" occluded="0" points="{POINTS}"/>'


def test_cvat_for_video(tmp_path, converted):
    result = converted("cvat", ALL, **video(tmp_path, seen(1) + seen(2) + seen(3, outside=1)))
    found = {name: len(result.segments(name)) for name in result.images}
    assert found == {f"frame_{n:06d}.png": int(n in (1, 2)) for n in range(5)}
    np.testing.assert_array_equal(only(result, "frame_000002.png", "nut"), BOX)


@pytest.mark.parametrize(
    ("shapes", "bad"),
    [(seen(0) + seen(3) + seen(4, 1), [1, 2]), (seen(2), [3, 4]), (seen(1) + seen(2, 1), [])],
)
def test_frames_that_cvat_would_interpolate_are_rejected(tmp_path, converted, shapes, bad):
    result = converted("cvat", ALL, **video(tmp_path, shapes))
    assert [s.name for s in result.report.skipped] == [f"frame_{n:06d}.png" for n in bad]
    assert all("CVAT exports one for every frame" in s.reason for s in result.report.skipped)


def test_numbers_of_frames(tmp_path):
    options = video(tmp_path, seen(1) + seen(2, 1), name="clip-{}.png")
    with pytest.raises(ValueError, match=r"no image is named frame_\{n\}; .* give --frames"):
        open_format("cvat", **options)
    assert len(open_format("cvat", **options, frames="clip-{n}").samples) == 5
    (tmp_path / "images/clip-0.png").unlink()
    with pytest.raises(ValueError, match="CVAT counts frames from 0"):
        open_format("cvat", **options, frames="clip-{n}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("via.json", VIA_1),
        ("via.json", VIA_2),
        ("via.json", PROJECT),
        ("via.csv", via_csv(REGIONS)),
        ("via.csv", via_csv(REGIONS, "#")),
    ],
    ids=["1", "2", "project", "csv 2", "csv 1"],
)
def test_via(tmp_path, converted, name, content):
    for image in ("a", "b"):
        save_image(tmp_path / f"images/{image}.png", SIZE)
    options = {"annotations": write(tmp_path / name, content), "images": str(tmp_path / "images")}
    result = converted("via", ALL, **options, attribute="kind")
    np.testing.assert_array_equal(only(result, "a.png", "nut"), BOX)
    assert only(result, "a.png", "leaf")[10:13, 20:24].sum() == 12
    assert result.segments("b.png") == []
    with pytest.raises(ValueError, match=r"several attributes, .*\['kind', 'state'\]"):
        open_format("via", **options)
    with pytest.raises(ValueError, match="no such attribute"):
        open_format("via", **options, attribute="sort")


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ({"name": "circle", "cx": 10, "cy": 10, "r": 3}, 32),
        ({"name": "ellipse", "cx": 15, "cy": 10, "rx": 6, "ry": 2, "theta": 0}, 40),
    ],
)
def test_round_regions_of_via(tmp_path, converted, shape, area):
    save_image(tmp_path / "images/a.png", SIZE)
    region = {"shape_attributes": shape, "region_attributes": {}}
    path = write(tmp_path / "v.json", {"a.png1": {"filename": "a.png", "regions": [region]}})
    result = converted("via", ALL, annotations=path, images=str(tmp_path / "images"), label="nut")
    assert result.segments("a.png")[0]["area"] == area


def test_an_ellipse_is_turned_clockwise():
    from detr_d2.conversion.formats.shapes import fill_ellipse

    upright = fill_ellipse([15, 10], [6, 2], SIZE, "x", 90)
    np.testing.assert_array_equal(upright, fill_ellipse([15, 10], [2, 6], SIZE, "x"))
    falling = fill_ellipse([15, 10], [6, 2], SIZE, "x", 45)
    assert falling[13, 18] and not falling[13, 11]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"shape_attributes": {"name": "polyline"}}, "a polyline has no area"),
        ({"shape_attributes": {"name": "point", "cx": 1, "cy": 1}}, "a point has no area"),
        ({"shape_attributes": {**POLYGON, "all_points_x": [1]}}, "as many all_points_x as"),
        ({"shape_attributes": {**RECT, "x": None}}, "a rect needs the numbers"),
        ({"shape_attributes": {**RECT, "x": 1e9}}, "is not within"),
        ({}, "has no shape_attributes"),
        ({"shape_attributes": RECT, "region_attributes": {"kind": ""}}, "no single value of"),
        ({"shape_attributes": RECT, "region_attributes": {"kind": {"a": 1, "b": 1}}}, "no single"),
        (5, "no single value"),
    ],
)
def test_bad_regions_of_via_are_named(tmp_path, converted, region, message):
    if isinstance(region, dict):
        region.setdefault("region_attributes", {"kind": "nut"})
    save_image(tmp_path / "images/a.png", SIZE)
    entry = {"filename": "a.png", "regions": [REGIONS[1], region]}
    path = write(tmp_path / "v.json", {"a.png1": entry})
    with pytest.raises(ValueError, match=message):
        converted("via", annotations=path, images=str(tmp_path / "images"), attribute="kind")


def test_labelbox(tmp_path, converted):
    for name in ("a.png", "b.png", "c.png"):
        save_image(tmp_path / "images" / name, SIZE)
    mask = {"name": "nut", "annotation_kind": "ImageSegmentationMask", "mask": {"url": "https://x"}}
    lines = [labelbox_row(PIECE), labelbox_row(mask, name="b.png")]
    lines.append(labelbox_row(PIECE, name="c.png", labels=2))
    path = write(tmp_path / "x.ndjson", "\n".join(lines) + "\n\n")
    options = {"annotations": path, "images": str(tmp_path / "images")}
    result = converted("labelbox", ALL, **options)
    np.testing.assert_array_equal(only(result, "a.png", "nut"), BOX)
    reasons = {item.name: item.reason for item in result.report.skipped}
    assert "picture on Labelbox's server, and nothing is downloaded" in reasons["b.png"]
    assert reasons["c.png"] == "it has 2 labels; choose one project (--project)"
    chosen = converted("labelbox", ALL, **options, project="second")
    assert set(chosen.images) == {"c.png"}


def studio_task(*results, annotations: int = 1, **marks) -> dict:
    annotation = {"result": list(results), "was_cancelled": False, **marks}
    listed = [annotation] + [{"result": []}] * (annotations - 1)
    return {"id": 3, "data": {"image": "/data/local-files/?d=up/a.png"}, "annotations": listed}


def studio_result(kind: str, value: dict, **more) -> dict:
    sizes = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "r1", "type": kind, "value": value, **sizes, **more}


PERCENT = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in CORNERS]
NUT = studio_result("polygonlabels", {"points": PERCENT, "polygonlabels": ["nut"]})
CHOICE = {"id": "c", "type": "choices", "value": {"choices": ["good"]}}


def test_label_studio_polygons(tmp_path, converted):
    save_image(tmp_path / "images/up/a.png", SIZE)
    images = str(tmp_path / "images")
    split = [
        studio_result("polygon", {"points": PERCENT}),
        studio_result("labels", {"points": PERCENT, "labels": ["nut"]}),
    ]
    for task in (
        studio_task(NUT, CHOICE),
        studio_task(*split),
        studio_task(NUT, annotations=2, ground_truth=True),
    ):
        path = write(tmp_path / "x.json", [task])
        result = converted("label-studio", ALL, annotations=path, images=images)
        np.testing.assert_array_equal(only(result, "up/a.png", "nut"), BOX)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (studio_task(NUT, annotations=2), "its task has 2 annotations; mark one as ground truth"),
        (studio_task(NUT, was_cancelled=True), "its task has no annotation"),
        (studio_task({**NUT, "image_rotation": 90}), "drawn on an image turned by 90"),
        (studio_task({**NUT, "original_width": 7}), "7x20 pixels, but it has 30x20"),
        (
            studio_task(NUT, studio_result("polygonlabels", {"points": PERCENT}, id="r2")),
            "has labels None",
        ),
        (
            studio_task(studio_result("rectanglelabels", {"rectanglelabels": ["nut"]})),
            "only a box; a mask is needed",
        ),
        (
            studio_task(studio_result("polygonlabels", {"points": 5, "polygonlabels": ["nut"]})),
            "points are no list of x, y",
        ),
        (
            studio_task(
                studio_result(
                    "brushlabels", {"format": "rle", "rle": [0, 0, 0, 9], "brushlabels": ["nut"]}
                )
            ),
            "RLE ends before its image is full",
        ),
        (
            studio_task(
                studio_result(
                    "brushlabels", {"format": "rle", "rle": [255] * 8, "brushlabels": ["nut"]}
                )
            ),
            "RLE of 4294967295 values of 32 bits, its image of 30x20 has 2400 of 8",
        ),
    ],
)
def test_bad_tasks_of_label_studio_are_named(tmp_path, converted, task, message):
    save_image(tmp_path / "images/up/a.png", SIZE)
    path = write(tmp_path / "x.json", [task])
    with pytest.raises(ValueError, match=message):
        converted("label-studio", annotations=path, images=str(tmp_path / "images"))


def test_supervisely_polygons_have_holes(tmp_path, converted):
    save_image(tmp_path / "ds/img/a.png", SIZE)
    classes = [{"title": "nut", "shape": "any"}]
    write(tmp_path / "meta.json", {"classes": classes, "tags": []})
    hole = [[4, 4], [6, 4], [6, 6], [4, 6]]
    points = {"exterior": CORNERS, "interior": [hole]}
    shape = {"classTitle": "nut", "geometryType": "polygon", "points": points}
    content = {"size": {"height": HEIGHT, "width": WIDTH}, "tags": [], "objects": [shape]}
    write(tmp_path / "ds/ann/a.png.json", content)
    result = converted("supervisely", ALL, folder=str(tmp_path))
    expected = BOX.copy()
    expected[4:6, 4:6] = False
    np.testing.assert_array_equal(only(result, "ds/a.png", "nut"), expected)


BAD_OBJECTS = [
    ({"classTitle": "nut", "geometryType": "line", "points": {}}, "a line is no mask"),
    ({"classTitle": "pit", "geometryType": "bitmap"}, "which is not in meta.json"),
    ({"classTitle": "nut", "geometryType": "bitmap", "bitmap": {}}, "no origin x, y"),
    (
        {
            "classTitle": "nut",
            "geometryType": "bitmap",
            "bitmap": {"origin": [0, 0], "data": "eJw="},
        },
        "is no packed PNG",
    ),
    (5, "shape 0 has no classTitle"),
]


@pytest.mark.parametrize(("shape", "message"), BAD_OBJECTS)
def test_bad_objects_of_supervisely_are_named(tmp_path, converted, shape, message):
    save_image(tmp_path / "ds/img/a.png", SIZE)
    write(tmp_path / "meta.json", {"classes": [{"title": "nut"}], "tags": []})
    content = {"size": {"height": HEIGHT, "width": WIDTH}, "objects": [shape]}
    write(tmp_path / "ds/ann/a.png.json", content)
    with pytest.raises(ValueError, match=message):
        converted("supervisely", folder=str(tmp_path))


def test_pascal_voc_palette_border_and_boxes(tmp_path, converted):
    """The challenge's own files: palette, 255 for the border; images with boxes only are named."""
    from PIL import Image

    from detr_d2.conversion.formats.pascal_voc import color_of

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
