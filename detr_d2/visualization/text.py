"""Text in pictures, in a font that is always there and knows most alphabets."""

import functools
import os

import matplotlib
from PIL import ImageDraw, ImageFont

from detr_d2.visualization.palette import Color

Box = tuple[int, int, int, int]


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, which Detectron2 depends on."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts/ttf", name), size)


def text_size(text: str, size: int, bold: bool = False) -> tuple[int, int]:
    """Width of a text and height of its line, in pixels."""
    chosen = font(size, bold)
    ascent, descent = chosen.getmetrics()
    return round(chosen.getlength(text)), ascent + descent


def pill_box(text: str, size: int, center: tuple[float, float]) -> Box:
    """Where a label of this text around this point would lie: left, top, right, bottom."""
    width, height = text_size(text, size)
    pad = max(2, size // 3)
    left = round(center[0] - width / 2) - pad
    top = round(center[1] - height / 2) - 1
    return left, top, left + width + 2 * pad, top + height + 2


def draw_pill(draw: ImageDraw.ImageDraw, box: Box, text: str, size: int, mark: Color) -> None:
    """White text on a dark rounded label with a rim in the colour of what it names.

    Args:
        draw: an RGBA drawing, so that the picture shines through.
        box: as `pill_box` gave it.
    """
    radius = (box[3] - box[1]) // 3
    draw.rounded_rectangle(box, radius, fill=(18, 20, 24, 205), outline=(*mark, 255), width=1)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    draw.text(middle, text, font=font(size), fill=(255, 255, 255, 255), anchor="mm")
