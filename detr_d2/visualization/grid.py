"""Arrange pictures in rows and labelled columns, with a legend of classes."""

import io
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from detr_d2.utils.files import replacing
from detr_d2.visualization.labels import font, text_size
from detr_d2.visualization.palette import Palette

MARGIN, GAP = 28, 12
HEADING, CAPTION, LEGEND = 18, 12, 14
PAPER, INK, FAINT = (250, 250, 248), (28, 30, 34), (120, 124, 130)


def image_grid(
    rows: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    *,
    palette: Palette | None = None,
    categories: Collection[int] = (),
    captions: Sequence[str | Sequence[str]] = (),
    title: str = "",
) -> np.ndarray:
    """Arrange pictures in a grid.

    Args:
        rows: pictures (h, w, 3) uint8 RGB; in each row as many as there are columns.
        columns: heading of each column, for example "image", "ground truth", "prediction".
        palette: names and colours for the legend.
        categories: contiguous ids to list in the legend; none = no legend.
        captions: small text under each row, or a list of one under each of its pictures; or none.
        title: a line over everything, or none.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    if not rows or any(len(row) != len(columns) for row in rows):
        found = [len(row) for row in rows]
        raise ValueError(f"pictures per row: {found}, but {len(columns)} columns")
    if captions and len(captions) != len(rows):
        raise ValueError(f"{len(captions)} captions for {len(rows)} rows")
    widths = [max(row[i].shape[1] for row in rows) for i in range(len(columns))]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    below = GAP + (text_size("X", CAPTION)[1] + 4 if captions else 0)
    width = 2 * MARGIN + sum(widths) + GAP * (len(columns) - 1)
    legend = _legend_lines(palette, sorted(categories), width - 2 * MARGIN)
    line = text_size("X", LEGEND)[1] + 8
    top = MARGIN + (text_size("X", HEADING + 4)[1] + GAP if title else 0)
    first = top + text_size("X", HEADING)[1] + GAP
    end = first + sum(heights) + below * len(rows)
    height = end + (GAP + line * len(legend) if legend else 0) + MARGIN - GAP

    grid = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(grid)
    if title:
        draw.text((MARGIN, MARGIN), title, font=font(HEADING + 4, bold=True), fill=INK)
    lefts = [MARGIN + sum(widths[:i]) + GAP * i for i in range(len(columns))]
    for left, heading in zip(lefts, columns, strict=True):
        draw.text((left, top), heading, font=font(HEADING, bold=True), fill=INK)
    y = first
    for number, row in enumerate(rows):
        for left, picture in zip(lefts, row, strict=True):
            grid.paste(Image.fromarray(picture), (left, y))
        y += heights[number] + below
        if captions:
            _render_captions(draw, captions[number], lefts, widths, y - below + 4)
    if palette is not None:
        _render_legend(draw, legend, palette, end + GAP, line)
    return np.asarray(grid)


def save_picture(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write an RGB picture atomically, in the format of the path's extension.

    Raises:
        ValueError: the path has no extension of an image format.
    """
    extension = os.path.splitext(path)[1].lower()
    format = Image.registered_extensions().get(extension)
    if format not in Image.SAVE:
        raise ValueError(f"{path}: an image needs an extension such as .png or .jpg")
    with replacing(path) as temporary:
        # Into the memory first: Pillow's JPEG writer does not notice that a disk is full.
        encoded = io.BytesIO()
        Image.fromarray(picture).save(encoded, format)
        Path(temporary).write_bytes(encoded.getbuffer())


def _render_captions(
    draw: ImageDraw.ImageDraw,
    captions: str | Sequence[str],
    lefts: Sequence[int],
    widths: Sequence[int],
    top: int,
) -> None:
    """Write one caption over the whole row, or one under each of its pictures."""
    spots = list(zip(lefts, widths, strict=True))
    if isinstance(captions, str):
        captions, spots = [captions], [(lefts[0], lefts[-1] + widths[-1] - lefts[0])]
    for text, (left, room) in zip(captions, spots, strict=True):
        draw.text((left, top), _shorten(text, room), font=font(CAPTION), fill=FAINT)


def _shorten(text: str, room: int) -> str:
    """Cut the start of a caption that is wider than this many pixels: names differ at their end."""
    if text_size(text, CAPTION)[0] <= room:
        return text
    start = next((i for i in range(len(text)) if text_size("…" + text[i:], CAPTION)[0] <= room), 0)
    return "…" + text[start:]


def _entry_width(palette: Palette, category: int) -> int:
    return LEGEND + 8 + text_size(palette.names[category], LEGEND)[0] + 22


def _legend_lines(
    palette: Palette | None, categories: Sequence[int], width: int
) -> list[list[int]]:
    """Break the legend into lines that fit."""
    lines: list[list[int]] = []
    room = 0
    for category in categories if palette is not None else ():
        assert palette is not None
        need = _entry_width(palette, category)
        if need > room:
            lines.append([])
            room = width
        lines[-1].append(category)
        room -= need
    return lines


def _render_legend(
    draw: ImageDraw.ImageDraw, lines: list[list[int]], palette: Palette, top: int, line: int
) -> None:
    for number, categories in enumerate(lines):
        x, y = MARGIN, top + number * line
        for category in categories:
            box = (x, y + 2, x + LEGEND, y + 2 + LEGEND)
            draw.rounded_rectangle(box, 3, fill=palette.colors[category])
            draw.text((x + LEGEND + 8, y), palette.names[category], font=font(LEGEND), fill=INK)
            x += _entry_width(palette, category)
