"""Which image is a frame of CVAT's video, and which shapes a frame has."""

import pytest
from annotation_files import write

from detr_d2.conversion.formats.cvat_tracks import frames_of_tracks, number_frames
from detr_d2.conversion.formats.cvat_xml import CvatMeta, Track, XmlShape, parse_cvat


@pytest.mark.parametrize(
    ("pattern", "images", "frames"),
    [
        ("frame_{n}", ["frame_000000.PNG", "b/frame_000012.jpg"], [0, 12]),
        ("{n}", ["cam.1/0.jpg", "cam.1/07.jpg", "cam.1/x7.jpg"], [0, 7]),
        # A dot and a plus are themselves, and names may have several dots.
        ("v1.0_{n}+", ["v1.0_3+.png", "v1x0_4+.png", "v1.0_55.png"], [3]),
        ("{n}.rgb", ["4.rgb.png", "5.png", "6xrgb.png"], [4]),
    ],
)
def test_frames_are_numbered_by_the_names_of_images(pattern, images, frames):
    found = number_frames(pattern, images, CvatMeta(), "x.xml")
    assert sorted(found) == frames
    assert set(found.values()) <= set(images)


@pytest.mark.parametrize(
    ("pattern", "images", "message"),
    [
        ("frame", ["frame.png"], r"^frames 'frame': must have \{n\} once"),
        ("{n}_{n}", ["1_1.png"], r"^frames '\{n\}_\{n\}': must have \{n\} once"),
        ("{n}", ["a/0.png", "b/00.png"], r"^x\.xml: frame 0 may be a/0\.png or b/00\.png$"),
        ("f{n}", ["0.png"], r"^x\.xml: is of a video, and no image is named f\{n\}"),
        ("f{n}", ["f1.png", "f2.png"], r"^x\.xml: CVAT counts .*, the images f\{n\} count from 1"),
    ],
)
def test_images_that_are_no_frames_are_named(pattern, images, message):
    with pytest.raises(ValueError, match=message):
        number_frames(pattern, images, CvatMeta(), "x.xml")


def test_a_part_of_a_video_may_begin_with_frame_1():
    """Of a task whose start_frame is 1, the first image is number 1."""
    assert number_frames("{n}", ["1.png"], CvatMeta(first=1), "x.xml") == {1: "1.png"}
    assert number_frames("{n}", ["2.png"], CvatMeta(), "x.xml") == {2: "2.png"}


def track(**outside: int) -> Track:
    """An object with a shape in some frames, by f3=0 inside or f3=1 outside."""
    shapes = {
        int(name[1:]): XmlShape("polygon", "nut", {"outside": str(value)})
        for name, value in outside.items()
    }
    return Track("7", shapes)


@pytest.mark.parametrize(
    ("shapes", "meta", "images", "sound", "faulty"),
    [
        ({"f1": 0, "f2": 1}, CvatMeta(), range(5), [1], []),
        # In any order, of shapes and of images.
        ({"f4": 1, "f1": 0}, CvatMeta(), [3, 0, 2, 4, 1], [1], [2, 3]),
        ({"f1": 0, "f3": 0, "f4": 1}, CvatMeta(), range(6), [1, 3], [2]),
        # Up to the last frame where the object does not leave; no further.
        ({"f1": 0}, CvatMeta(last=3), range(9), [1], [2, 3]),
        ({"f1": 0}, CvatMeta(), range(9), [1], []),
        # Of a task with every other frame, the ones between have no shapes at all.
        ({"f1": 0, "f7": 1}, CvatMeta(step=2), range(9), [1], [3, 5]),
        ({"f2": 1, "f4": 0, "f5": 1}, CvatMeta(), range(9), [4], []),
    ],
)
def test_shapes_by_frame(shapes, meta, images, sound, faulty):
    frames = frames_of_tracks([track(**shapes)], meta, images)
    faults = {frame: shape.fault for frame, (shape,) in frames.items()}
    assert sorted(frame for frame, fault in faults.items() if fault is None) == sound
    assert sorted(frame for frame, fault in faults.items() if fault is not None) == faulty


def test_a_missing_shape_is_told_with_its_track_and_the_frame_before():
    frames = frames_of_tracks([track(f0=0, f3=0, f6=1)], CvatMeta(), range(7))
    (shape,) = frames[5]
    assert shape.fault is not None
    assert shape.fault.startswith("track 7 has no shape in this frame, but in frame 3 before")


META = """<meta><task><labels><label><name>wall</name></label><label><name>nut</name></label>
<label><name>wall</name></label><label/></labels><start_frame> 4 </start_frame>
<stop_frame>32</stop_frame><frame_filter>step=14</frame_filter><mode>interpolation</mode>
<original_size><width>30</width><height>20</height></original_size></task></meta>"""


def parse(tmp_path, body: str):
    return parse_cvat(write(tmp_path / "x.xml", f"<annotations>{body}</annotations>"))


def test_facts_of_the_task(tmp_path):
    meta, images, tracks = parse(tmp_path, META)
    assert meta == CvatMeta(["wall", "nut"], True, 4, 32, 14, (20, 30))
    assert (images, tracks) == ([], [])
    # With images it is not of a video, whatever it was drawn on.
    meta, images, _ = parse(tmp_path, META + '<image name="a.png" width="30" height="x"/>')
    assert (meta.is_video, images) == (False, [("a.png", (None, 30), [])])
    meta, _, _ = parse(tmp_path, "<meta/>")
    assert meta == CvatMeta()


def test_the_shapes_of_a_track_have_its_label_and_its_group(tmp_path):
    body = """<track id="3" label="nut" group_id="9"><polygon frame="2" points="1"/><tag/>
    <mask frame="5" group_id="8"/></track>"""
    meta, _, (found,) = parse(tmp_path, body)
    assert meta.is_video
    kinds = {n: (s.kind, s.label, s.values["group_id"]) for n, s in found.shapes.items()}
    assert (found.number, kinds) == ("3", {2: ("polygon", "nut", "9"), 5: ("mask", "nut", "8")})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<image id="6"/>', "image 6 has no name"),
        ('<track id="6"><box frame="-1"/></track>', "track 6: a box without frame"),
        ('<image name="a"/><track id="6"/>', "has images and tracks; export them for images, or"),
    ],
)
def test_parts_that_cannot_be_placed_are_named(tmp_path, body, message):
    with pytest.raises(ValueError, match=rf"x\.xml: {message}"):
        parse(tmp_path, body)
