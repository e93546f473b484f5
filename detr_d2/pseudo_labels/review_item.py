"""One image of a review: what is known of its labels, and its four pictures.

Legend: H, W size of the image; h, w size of the picture. All images are RGB uint8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.visualization.labels import pill_box, render_pill
from detr_d2.visualization.overlay import render_segments, resize_image
from detr_d2.visualization.palette import Color, Palette

# Loud colours that images rarely have; as stripes they show without colours too.
STRIPES: tuple[Color, Color] = ((255, 0, 170), (255, 215, 240))
STRIPES_ACROSS, OUTLINES_ACROSS = 90, 240

COLUMNS = {"image": "image", "custom": "custom masks", "result": "result", "void": "void"}
# Behind custom masks the image shows more than in void: what has been forgotten is there.
UNMASKED_ALPHA = 0.4


@dataclass(frozen=True)
class ReviewItem:
    """One image with automatic labels to look at.

    Args:
        name: the image's name as people know it; may contain folders.
        custom: panoptic record of the custom masks: `file_name`, `pan_seg_file_name` and
            `segments_info` with contiguous ids, which may be empty.
        labels: the same of the result. Each segment has a `provenance` besides: `source`
            ("custom" or "model"), `classes` (names that the model gave), `score` (0..1 or None)
            and `filled` (pixels that were given by neighbours).
        score: the worst score of the image, 0..1.
        void_share: share of the image that has no label, 0..1.
    """

    name: str
    custom: Mapping[str, Any]
    labels: Mapping[str, Any]
    score: float
    void_share: float

    def __post_init__(self) -> None:
        for field in ("score", "void_share"):
            value = getattr(self, field)
            # NaN is rejected too: it has no place in an order.
            if not 0 <= value <= 1:
                raise ValueError(f"{self.name}: {field} {value}, allowed: 0..1")

    @property
    def shown_name(self) -> str:
        """The name on one line; what cannot be written as UTF-8 is a question mark."""
        return " ".join(self.name.encode("utf-8", "replace").decode("utf-8").split())

    @property
    def masks(self) -> list[Mapping[str, Any]]:
        """The segments of the custom masks."""
        return list(self.custom["segments_info"])

    @property
    def segments(self) -> list[Mapping[str, Any]]:
        """The segments of the result."""
        return list(self.labels["segments_info"])

    @property
    def void_text(self) -> str:
        """How much of the image has no label, in words."""
        if not self.void_share:
            return "no void"
        if self.void_share < 0.001:
            return "void < 0.1 %"
        return f"void {100 * self.void_share:.1f} %"


def render_item(
    item: ReviewItem, image: np.ndarray, custom_palette: Palette, palette: Palette, width: int
) -> dict[str, np.ndarray]:
    """Render the four pictures of an image by the keys of COLUMNS, all of one size.

    Args:
        item: with the records of both maps.
        image: (H, W, 3).
        custom_palette, palette: names and colours of the classes of the masks and the result.
        width: of the pictures, w.
    """
    custom_map, result_map = (
        read_ids(record["pan_seg_file_name"]) for record in (item.custom, item.labels)
    )
    custom = render_segments(
        image, custom_map, item.masks, custom_palette, width, void_alpha=UNMASKED_ALPHA
    )
    return {
        "image": resize_image(image, width),
        "custom": custom if item.masks else write_note(custom, "no custom masks"),
        "result": render_segments(image, result_map, item.segments, palette, width),
        "void": render_void(image, result_map, item.segments, width),
    }


def render_void(
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
        return write_note(grey, "no void")
    h, w = base.shape[:2]
    mask = _resize_mask(void, (h, w))
    rows, cols = np.indices((h, w))
    stripe = (rows + cols) // max(2, round(w / STRIPES_ACROSS)) % 2
    picture = np.where(mask[..., None], np.array(STRIPES, np.uint8)[stripe], grey)
    # The outline makes a single pixel large enough to be seen.
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, STRIPES[0], max(1, round(w / OUTLINES_ACROSS)))
    return picture


def write_note(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a few words into the middle of a copy of a picture."""
    height, width = picture.shape[:2]
    size = max(10, min(width // 18, height // 4))
    written = Image.fromarray(picture)
    box = pill_box(text, size, (width / 2, height / 2))
    render_pill(ImageDraw.Draw(written, "RGBA"), box, text, size, (255, 255, 255))
    return np.array(written)


def _resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask (H, W); when it gets smaller, one pixel of it makes its whole cell true."""
    if mask.shape == size:
        return mask
    shrinks = size[0] < mask.shape[0] or size[1] < mask.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    soft = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=method)
    return soft > 0 if shrinks else soft >= 0.5
