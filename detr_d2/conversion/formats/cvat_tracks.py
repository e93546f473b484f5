"""Tracks of CVAT's videos: which shapes a frame has, and which image a frame is."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import replace

from detr_d2.conversion.formats.cvat_xml import CvatMeta, Track, XmlShape


def frames_of_tracks(
    tracks: Iterable[Track], meta: CvatMeta, images: Iterable[int]
) -> dict[int, list[XmlShape]]:
    """The visible shapes by frame, in the order of the tracks.

    CVAT writes a shape for every frame in which an object is visible, those between keyframes
    too. It fits polygons to each other along their outlines in a way that is not specified, so a
    frame that is missing between two is not interpolated here: its images get a shape with a
    fault. The same holds for frames behind the last shape, if that one is not outside.

    Args:
        tracks: of the video.
        meta: of the task.
        images: the frames that have an image; no others get a fault, whatever `stop_frame` says.
    """
    frames: dict[int, list[XmlShape]] = {}
    numbers = sorted(images)
    for track in tracks:
        known = sorted(track.shapes)
        for place, frame in enumerate(known):
            shape = track.shapes[frame]
            if shape.values.get("outside") == "1":
                continue
            frames.setdefault(frame, []).append(shape)
            is_last = place + 1 == len(known)
            end = (meta.last or frame) + 1 if is_last else known[place + 1]
            fault = (
                f"track {track.number} has no shape in this frame, but in frame {frame} before; "
                "CVAT exports one for every frame: export again"
            )
            faulty = replace(shape, fault=fault)
            for missing in numbers[bisect_right(numbers, frame) : bisect_left(numbers, end)]:
                if (missing - frame) % meta.step == 0:
                    frames.setdefault(missing, []).append(faulty)
    return frames


def number_frames(pattern: str, images: Iterable[str], meta: CvatMeta, path: str) -> dict[int, str]:
    """Find the image of every frame by the number in its name.

    Args:
        pattern: name of an image without folder and extension; {n} is the frame's number.
        images: paths below the image folder, with "/".
        meta: of the task.
        path: the XML, for messages.

    Returns:
        Paths of images by frame.

    Raises:
        ValueError: the pattern has no {n}; no image or two of a number; or numbers that count
            from 1, where CVAT counts from 0.
    """
    if pattern.count("{n}") != 1:
        raise ValueError(f"frames {pattern!r}: must have {{n}} once, for the number of the frame")
    before, after = pattern.split("{n}")
    expression = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found: dict[int, str] = {}
    for image in images:
        match = expression.fullmatch(image.rsplit("/", 1)[-1].rsplit(".", 1)[0])
        if match is None:
            continue
        frame = int(match[1])
        if frame in found:
            raise ValueError(f"{path}: frame {frame} may be {found[frame]} or {image}")
        found[frame] = image
    if not found:
        raise ValueError(
            f"{path}: is of a video, and no image is named {pattern}; export it with its images, "
            "or give --frames, as {n} or img{n}, or export it for images"
        )
    if meta.first == 0 and min(found) == 1:
        raise ValueError(
            f"{path}: CVAT counts frames from 0, the images {pattern} count from 1: rename them, "
            "or export the images with the annotations"
        )
    return found
