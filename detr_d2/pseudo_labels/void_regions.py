"""Show where an image has no label.

Legend: H, W size of the image; h, w size of the picture. All images are RGB uint8.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from detr_d2.visualization.overlay import resize_image
from detr_d2.visualization.palette import Color
from detr_d2.visualization.text import draw_pill, pill_box

# Loud colours that images rarely have; as stripes they are also seen by who sees no colours.
STRIPES: tuple[Color, Color] = ((255, 0, 170), (255, 215, 240))
STRIPES_ACROSS, RIMS_ACROSS = 90, 240


def draw_void(
    image: np.ndarray,
    id_map: np.ndarray,
    segments: Sequence[Mapping[str, Any]],
    width: int | None = None,
) -> np.ndarray:
    """Grey the image and hatch all of it that has no label; say so where there is none.

    Args:
        image: (H, W, 3).
        id_map: (H, W) integers; ids that `segments` does not list are void.
        segments: `id` of each.
        width: of the picture, w; None = W.

    Returns:
        (h, w, 3). An area shows however small it is.
    """
    base = resize_image(image, width)
    grey = cv2.cvtColor(cv2.cvtColor(base, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    void = ~np.isin(id_map, [segment["id"] for segment in segments])
    if not void.any():
        return draw_note(grey, "no void")
    h, w = base.shape[:2]
    mask = _resize_mask(void, (h, w))
    rows, cols = np.indices((h, w))
    stripe = (rows + cols) // max(2, round(w / STRIPES_ACROSS)) % 2
    picture = np.where(mask[..., None], np.array(STRIPES, np.uint8)[stripe], grey)
    # The rim makes a single pixel large enough to be seen.
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, STRIPES[0], max(1, round(w / RIMS_ACROSS)))
    return picture


def draw_note(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a few words into the middle of a copy of a picture."""
    height, width = picture.shape[:2]
    size = max(10, min(width // 18, height // 4))
    canvas = Image.fromarray(picture)
    box = pill_box(text, size, (width / 2, height / 2))
    draw_pill(ImageDraw.Draw(canvas, "RGBA"), box, text, size, (255, 255, 255))
    return np.array(canvas)


def _resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask (H, W); when it gets smaller, one pixel of it makes its whole cell true."""
    if mask.shape == size:
        return mask
    shrinks = size[0] < mask.shape[0] or size[1] < mask.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    soft = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=way)
    return soft > 0 if shrinks else soft >= 0.5
