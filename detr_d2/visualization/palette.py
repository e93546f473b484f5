"""One colour a class, and shades of it for the things of that class in one picture."""

import colorsys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from detr_d2.utils.colors import default_color

Color = tuple[int, int, int]

# Instance n of a class turns its hue by a few degrees and changes its brightness, so that
# neighbours of one class differ and still belong together. (hue turn, brightness factor)
SHADES = ((0.0, 1.0), (0.03, 0.72), (-0.03, 1.25), (0.05, 0.86), (-0.05, 0.6), (0.015, 1.12))


class Palette:
    """Names and colours of the classes by contiguous id.

    Args:
        names: one a class.
        colors: RGB in 0..255, one a class; None spreads the hues evenly.
        thing_ids: which classes are things.
    """

    def __init__(
        self,
        names: Sequence[str],
        colors: Sequence[Sequence[int]] | None = None,
        thing_ids: Collection[int] = (),
    ) -> None:
        self.names = list(names)
        self.thing_ids = frozenset(thing_ids)
        chosen = colors if colors is not None else [default_color(i) for i in range(len(names))]
        if len(chosen) != len(self.names):
            raise ValueError(f"{len(self.names)} names but {len(chosen)} colours")
        self.colors: list[Color] = [(int(r), int(g), int(b)) for r, g, b in chosen]

    @classmethod
    def from_metadata(cls, metadata: Any) -> "Palette":
        """Take names and colours of a registered set (Detectron2's `Metadata`).

        Of a panoptic set those of its stuff, a list with the things in it; of a detection set
        those of its things.
        """
        kind = "stuff" if metadata.get("stuff_classes") else "thing"
        colors = metadata.get(f"{kind}_colors")
        names = getattr(metadata, f"{kind}_classes")
        things = metadata.get("thing_dataset_id_to_contiguous_id", {}).values()
        return cls(names, colors if colors and len(colors) == len(names) else None, things)

    @classmethod
    def from_categories(cls, categories: Iterable[Any]) -> "Palette":
        """Take entries with `name`, `color` and `isthing`, in the order of their contiguous ids."""
        entries = list(categories)
        things = [index for index, entry in enumerate(entries) if entry.isthing]
        return cls([e.name for e in entries], [e.color for e in entries], things)

    def shade(self, category: int, number: int) -> Color:
        """Colour of the `number`-th thing (from 0) of a class in a picture."""
        turn, factor = SHADES[number % len(SHADES)]
        h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in self.colors[category]))
        # Bright colours cannot get brighter: they get paler instead.
        bright = v * factor
        pale = s / bright if bright > 1 else s
        r, g, b = colorsys.hsv_to_rgb((h + turn) % 1.0, pale, min(1.0, bright))
        return round(r * 255), round(g * 255), round(b * 255)
