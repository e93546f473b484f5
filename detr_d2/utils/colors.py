"""Colours of classes that have none of their own."""

import colorsys


def default_color(index: int) -> tuple[int, int, int]:
    """RGB in 0..255 of the class at this place in a list, far from those of its neighbours."""
    # Steps of the golden ratio spread the hues evenly for any number of classes.
    r, g, b = colorsys.hsv_to_rgb((index * 0.618034) % 1.0, 0.65, 0.9)
    return round(r * 255), round(g * 255), round(b * 255)
