"""Render segments and boxes over an image.

Legend: H, W size of the image; h, w size of the picture; S segments. All images are RGB uint8.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from detr_d2.visualization.labels import label_corners, label_segments
from detr_d2.visualization.palette import Color, Palette

VOID = -1
THING_ALPHA, STUFF_ALPHA, VOID_ALPHA = 0.62, 0.5, 0.72
BORDER = 8
# Rows that are blended at a time.
STRIP = 256


def resize_image(image: np.ndarray, width: int | None) -> np.ndarray:
    """Scale an image to this width, keeping its shape; None keeps it as it is."""
    if width is None or width == image.shape[1]:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    method = cv2.INTER_CUBIC if width > image.shape[1] else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=method)


def render_segments(
    image: np.ndarray,
    id_map: np.ndarray,
    segments: Sequence[Mapping[str, Any]],
    palette: Palette,
    width: int | None = None,
    boxes: np.ndarray | None = None,
    void_alpha: float = VOID_ALPHA,
) -> np.ndarray:
    """Render a panoptic segmentation over its image.

    Things get a shade each and a white outline, stuff its class's colour and a dark one; void is
    grey and dim. Labels (class, score if there is one) appear where a segment has room for them.

    Args:
        image: (H, W, 3).
        id_map: (H, W) integers; ids that `segments` does not list are void.
        segments: `id`, `category_id` (contiguous), `isthing`, maybe `score` in [0, 1].
        palette: names and colours.
        width: of the picture, w; None = W.
        boxes: (S, 4) xyxy in pixels of the image, outlined too; None = no boxes.
        void_alpha: how much void hides of the image, 0..1.
    """
    base = resize_image(image, width)
    index_map = _upscale(
        _index_map(id_map, segments), len(segments), (base.shape[0], base.shape[1])
    )
    colors = segment_colors(segments, palette)
    picture = _blend(base, index_map, segments, colors, void_alpha)
    _outline_segments(picture, index_map, segments)
    if boxes is not None:
        picture = _outline_boxes(picture, boxes * (base.shape[1] / image.shape[1]), colors)
    texts = [[_text(segment, palette), _name(segment, palette)] for segment in segments]
    return label_segments(picture, index_map, texts, colors)


def render_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    segments: Sequence[Mapping[str, Any]],
    palette: Palette,
    width: int | None = None,
) -> np.ndarray:
    """Render boxes with labels over an image.

    Args:
        image: (H, W, 3).
        boxes: (S, 4) xyxy in pixels of the image.
        segments: `category_id`, `isthing` and maybe `score` of each box.
        palette: names and colours.
        width: of the picture, w; None = W.
    """
    base = resize_image(image, width)
    scaled = boxes * (base.shape[1] / image.shape[1])
    colors = segment_colors(segments, palette)
    picture = _outline_boxes(base, scaled, colors)
    return label_corners(picture, scaled[:, :2], [_text(s, palette) for s in segments], colors)


def _outline_boxes(picture: np.ndarray, boxes: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    """Draw rectangles (S, 4) xyxy with exclusive lower right corners on a copy of a picture."""
    result = np.ascontiguousarray(picture).copy()
    line = max(1, round(picture.shape[1] / 250))
    for (x0, y0, x1, y1), color in zip(boxes.round().astype(int).tolist(), colors, strict=True):
        last = (max(x0, x1 - 1), max(y0, y1 - 1))
        cv2.rectangle(result, (x0, y0), last, color, line)
    return result


def segment_colors(segments: Sequence[Mapping[str, Any]], palette: Palette) -> list[Color]:
    """The class's colour for stuff; for things its shades in their order in the picture."""
    seen: Counter[int] = Counter()
    colors = []
    for segment in segments:
        category = segment["category_id"]
        colors.append(palette.shade(category, seen[category] if segment["isthing"] else 0))
        seen[category] += 1
    return colors


def _index_map(id_map: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Place of each pixel's segment in the list, int32 (H, W); VOID where there is none."""
    index_map = np.full(id_map.shape, VOID, dtype=np.int32)
    for index, segment in enumerate(segments):
        index_map[id_map == segment["id"]] = index
    return index_map


def _upscale(index_map: np.ndarray, count: int, size: tuple[int, int]) -> np.ndarray:
    """Resize an index map without stairs: every segment is smoothed, the strongest wins."""
    if index_map.shape == size:
        return index_map
    best = np.zeros(size, dtype=np.float32)
    result = np.full(size, VOID, dtype=np.int32)
    sigma = 0.4 * size[1] / index_map.shape[1]
    for index in range(VOID, count):
        mask = (index_map == index).astype(np.float32)
        soft = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        if sigma > 0.6:
            soft = cv2.GaussianBlur(soft, (0, 0), sigma)
        result[soft > best] = index
        np.maximum(best, soft, out=best)
    return result


def _blend(
    base: np.ndarray,
    index_map: np.ndarray,
    segments: Sequence[Mapping[str, Any]],
    colors: Sequence[Color],
    void_alpha: float,
) -> np.ndarray:
    # Row 0 of both tables is void: index -1 + 1.
    table = np.array([(34, 36, 40), *colors], dtype=np.float32)
    kinds = [void_alpha, *(THING_ALPHA if s["isthing"] else STUFF_ALPHA for s in segments)]
    alphas = np.array(kinds, dtype=np.float32)
    picture = np.empty_like(base)
    # In strips: the floats of a whole image of 24 megapixels would take two gigabytes.
    for top in range(0, len(base), STRIP):
        pixels, index = base[top : top + STRIP], index_map[top : top + STRIP] + 1
        alpha = alphas[index][..., None]
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        # Half of the image's own colour is taken away so that it does not compete with the
        # classes'.
        muted = 0.5 * pixels + 0.5 * grey
        picture[top : top + STRIP] = alpha * table[index] + (1 - alpha) * muted
    return picture


def _outline_segments(
    picture: np.ndarray, index_map: np.ndarray, segments: Sequence[Mapping[str, Any]]
) -> None:
    """Outline stuff first, then things on top, in place."""
    line = max(1, picture.shape[1] // 280)
    order = sorted(range(len(segments)), key=lambda i: bool(segments[i]["isthing"]))
    for index in order:
        mask = (index_map == index).astype(np.uint8)
        # The mask goes on past the border, so that no line is drawn where only the picture ends.
        wide = cv2.copyMakeBorder(mask, *(BORDER,) * 4, cv2.BORDER_REPLICATE)
        contours, _ = cv2.findContours(
            wide, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(-BORDER, -BORDER)
        )
        color = (255, 255, 255) if segments[index]["isthing"] else (28, 30, 34)
        thickness = line if segments[index]["isthing"] else 1
        cv2.polylines(picture, contours, True, color, thickness, cv2.LINE_AA)


def _name(segment: Mapping[str, Any], palette: Palette) -> str:
    return palette.names[segment["category_id"]]


def _text(segment: Mapping[str, Any], palette: Palette) -> str:
    name = _name(segment, palette)
    score = segment.get("score")
    return name if score is None else f"{name} {100 * score:.0f}%"
