"""CVAT XML, for images and for video."""

from pathlib import Path

import numpy as np
import pytest
from annotation_files import BOX, CORNERS, HEIGHT, SIZE, WIDTH, only, write
from converted_sets import save_image

from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules

ALL = Rules(min_area=0)


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>nut</name></label>
<label><name>never used</name></label></labels><mode>{mode}</mode>{more}</task></meta>{body}
</annotations>"""


POINTS = ";".join(f"{x:.2f},{y:.2f}" for x, y in CORNERS)


def one_image(tmp_path, shapes: str, size: str = f'width="{WIDTH}" height="{HEIGHT}"') -> dict:
    image = f'<image id="0" name="a.png" {size}>{shapes}</image>'
    path = write(tmp_path / "x.xml", CVAT.format(mode="annotation", more="", body=image))
    save_image(tmp_path / "images/a.png", SIZE)
    return {"annotations": path, "images": str(tmp_path / "images")}


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


@pytest.mark.parametrize(("group", "areas"), [("", [6, 6]), ("0", [6, 6]), ("1", [12])])
def test_the_group_zero_is_none(tmp_path, converted, group, areas):
    """Two nuts of 3 x 2 pixels each."""
    shapes = "".join(
        f'<polygon label="nut" points="{x},0;{x + 3},0;{x + 3},2;{x},2" group_id="{group}"/>'
        for x in (15, 25)
    )
    image = f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
    path = write(tmp_path / "x.xml", CVAT.format(mode="annotation", more="", body=image))
    save_image(tmp_path / "images/a.png", SIZE)
    result = converted("cvat", ALL, annotations=path, images=str(tmp_path / "images"))
    assert [segment["area"] for segment in result.segments("a.png")] == areas


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
    options = one_image(tmp_path, shape)
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


def test_a_far_stop_frame_takes_no_memory_and_is_said(tmp_path, converted):
    options = video(tmp_path, seen(1) + seen(2))
    text = Path(options["annotations"]).read_text()
    far = text.replace("<stop_frame>4<", "<stop_frame>999999999<")
    Path(options["annotations"]).write_text(far)
    result = converted("cvat", ALL, **options)
    (file, *frames) = result.report.skipped
    assert file.name.endswith("x.xml")
    assert file.reason == "its stop_frame is 999999999, but the last image is that of 4"
    assert [s.name for s in frames] == ["frame_000003.png", "frame_000004.png"]
    assert result.report.images_out == 3


@pytest.mark.parametrize("step", ["0", "00", "9" * 5000])
def test_a_step_of_frames_that_is_none_is_named(tmp_path, step):
    options = video(tmp_path, seen(1))
    text = Path(options["annotations"]).read_text()
    text = text.replace("</start_frame>", f"</start_frame><frame_filter>step={step}</frame_filter>")
    Path(options["annotations"]).write_text(text)
    with pytest.raises(ValueError, match=rf"x\.xml: frame_filter step={step}; must be from 1"):
        open_format("cvat", **options)


def test_numbers_of_frames(tmp_path):
    options = video(tmp_path, seen(1) + seen(2, 1), name="clip-{}.png")
    with pytest.raises(ValueError, match=r"no image is named frame_\{n\}; .* give --frames"):
        open_format("cvat", **options)
    assert len(open_format("cvat", **options, frames="clip-{n}").samples) == 5
    (tmp_path / "images/clip-0.png").unlink()
    with pytest.raises(ValueError, match="CVAT counts frames from 0"):
        open_format("cvat", **options, frames="clip-{n}")


@pytest.mark.parametrize(
    ("rotation", "box"), [("", [9, 8, 12, 4]), ('rotation="90"', [13, 4, 4, 12])]
)
def test_ellipses_of_cvat_are_turned(tmp_path, converted, rotation, box):
    shape = f'<ellipse label="nut" cx="15" cy="10" rx="6" ry="2" {rotation}/>'
    result = converted("cvat", ALL, **one_image(tmp_path, shape))
    assert [s["bbox"] for s in result.segments("a.png")] == [box]


def test_an_ellipse_of_cvat_is_turned_clockwise(tmp_path, converted):
    shape = '<ellipse label="nut" cx="15" cy="10" rx="6" ry="2" rotation="45"/>'
    mask = only(converted("cvat", ALL, **one_image(tmp_path, shape)), "a.png", "nut")
    assert mask[13, 18] and not mask[13, 11]


LAYERS = """
<polygon label="top" points="0,0;4,0;4,4;0,4" z_order="1" {0}/>
<polygon label="middle" points="2,0;6,0;6,4;2,4" {0}/>
<polygon label="bottom" points="0,0;8,0;8,4;0,4" z_order="-1" {0}/>"""


def test_z_order_says_what_lies_on_top(tmp_path, converted):
    """In the file the lowest comes last."""
    tracks = "".join(
        f'<track id="{number}" label="{line.split(chr(34))[1]}">{line}</track>'
        for number, line in enumerate(LAYERS.format('frame="4"').strip().splitlines())
    )
    text = CVAT.format(mode="interpolation", more="", body=tracks)
    options = video(tmp_path / "video", "")
    write(tmp_path / "video/x.xml", text)
    order = Rules(min_area=0, order="annotation")
    for name, source in (
        ("a.png", one_image(tmp_path, LAYERS.format(""))),
        ("frame_000004.png", options),
    ):
        result = converted("cvat", order, **source)
        areas = {result.names[s["category_id"]]: s["area"] for s in result.segments(name)}
        assert areas == {"top": 16, "middle": 8, "bottom": 8}


@pytest.mark.parametrize(
    ("groups", "areas"), [(("", ""), [4, 4]), (("0", "0"), [4, 4]), (("7", "7"), [8])]
)
def test_groups_of_cvat(tmp_path, converted, groups, areas):
    shapes = "".join(
        f'<polygon label="nut" points="{x},0;{x + 2},0;{x + 2},2;{x},2" group_id="{group}"/>'
        for x, group in zip((0, 9), groups, strict=True)
    )
    result = converted("cvat", ALL, **one_image(tmp_path, shapes))
    assert [s["area"] for s in result.segments("a.png")] == areas


def mask_shape(left: str, top: str, rle: str = "0,6", width: str = "3") -> str:
    places = f'left="{left}" top="{top}" width="{width}" height="2"'
    return f'<mask label="nut" rle="{rle}" {places}/>'


@pytest.mark.parametrize(("left", "top"), [("0", "0"), ("27", "18"), ("27.0", "18.")])
def test_a_mask_of_cvat_may_touch_every_side(tmp_path, converted, left, top):
    result = converted("cvat", ALL, **one_image(tmp_path, mask_shape(left, top)))
    (segment,) = result.segments("a.png")
    assert segment["bbox"] == [int(float(left)), int(float(top)), 3, 2]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (mask_shape("28", "0"), "its mask of 3x2 at 28,0 is outside of its image of 30x20"),
        (mask_shape("0", "19"), "its mask of 3x2 at 0,19 is outside of its image of 30x20"),
        (mask_shape("-1", "0"), "left '-1'; must be a number of pixels"),
        (mask_shape("0", "1.5"), r"top '1\.5'; must be a number of pixels"),
        (mask_shape("0", "0", width="0"), "size .0, 2.|size .2, 0.; must be height and width"),
        (mask_shape("0", "0", "x" * 50), f"RLE '{'x' * 40}' is no list of numbers"),
        ('<polygon label="nut"/>', r"a\.png: shape 0 \(nut\): could not convert"),
        ('<points label="nut" points="0,0"/>', "points have no area"),
        ('<cuboid label="nut"/>', "a cuboid is no mask"),
        ('<skeleton label="nut"/>', "a skeleton has no area"),
        ('<cell label="nut"/>', "a cell of a grid is no mask"),
        ('<ellipse label="nut" cx="5" cy="5" rx="3"/>', "radii 3, 0, angle 0.0; no ellipse"),
    ],
)
def test_shapes_without_pixels_in_the_image_are_named(tmp_path, converted, shape, message):
    with pytest.raises(ValueError, match=message):
        converted("cvat", **one_image(tmp_path, shape))


@pytest.mark.parametrize(("last", "step", "told"), [(4, 1, 0), (5, 1, 1), (5, 2, 0), (6, 2, 1)])
def test_a_video_without_its_last_images_is_told(tmp_path, last, step, told):
    """The last image is that of frame 4."""
    options = video(tmp_path, seen(0) + seen(1, 1))
    text = Path(options["annotations"]).read_text()
    text = text.replace("<stop_frame>4<", f"<stop_frame>{last}<")
    text = text.replace("</start_frame>", f"</start_frame><frame_filter>step={step}</frame_filter>")
    Path(options["annotations"]).write_text(text)
    assert len(open_format("cvat", **options).skipped) == told


def test_a_frame_with_shapes_and_without_image_is_named(tmp_path):
    opened = open_format("cvat", **video(tmp_path, seen(1) + seen(2, 1) + seen(17) + seen(18, 1)))
    (item,) = opened.skipped
    assert item.name == "frame_000017"
    assert item.reason == f"image not found below {tmp_path / 'images'}"


def test_frames_of_another_size_than_the_video_are_rejected(tmp_path, converted):
    options = video(tmp_path, seen(1) + seen(2, 1))
    save_image(tmp_path / "images/frame_000003.png", (HEIGHT, WIDTH + 1))
    (item,) = converted("cvat", ALL, **options).report.skipped
    assert item.name == "frame_000003.png"
    assert "says that its image has 30x20 pixels, but it has 31x20; scale it" in item.reason


def test_classes_of_cvat_are_in_the_order_of_its_labels(tmp_path):
    shapes = LAYERS.format("") + '<polygon label="nut" points="9,9;12,9;12,12"/>'
    opened = open_format("cvat", **one_image(tmp_path, shapes))
    # What the file declares comes first, used or not; other labels follow by name.
    assert [c.name for c in opened.classes] == ["nut", "never used", "bottom", "middle", "top"]
