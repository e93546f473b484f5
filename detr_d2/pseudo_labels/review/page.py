"""The page of a review: one HTML file that needs nothing but the pictures beside it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detr_d2.pseudo_labels.review.card import Entry, card, escape, number_of, swatch
from detr_d2.pseudo_labels.review.item import ReviewItem
from detr_d2.pseudo_labels.review.style import SCRIPT, STYLE
from detr_d2.visualization.palette import Color, Palette

SHEET = "worst.jpg"
HOW_TO_READ = """
Every image appears four times: as it is, with the custom masks, with the result, and with all
that has no label (void) hatched. Custom masks are kept as they are; the rest comes from the model.
The score says how sure the model was of a segment, from 0 to 1; the images with the worst come
first. Filled pixels are those that a segment took over from what was removed beside it. Nothing
is learned from void.
"""


@dataclass(frozen=True)
class Summary:
    """What is said of all images: how many there are, have void and are shown.

    `width` is that of a picture on the page in pixels.
    """

    title: str
    total: int
    with_void: int
    shown: int
    width: int


def legend(
    items: Iterable[ReviewItem], custom_palette: Palette, palette: Palette
) -> list[tuple[str, Color]]:
    """Names and colours of the classes that occur: of the result, then of custom masks only.

    A custom class with the name of one of the result, but another colour, is told apart.
    """
    used: set[int] = set()
    masked: set[int] = set()
    for item in items:
        used.update(segment["category_id"] for segment in item.segments)
        masked.update(segment["category_id"] for segment in item.masks)
    classes = [(palette.names[i], palette.colors[i]) for i in sorted(used)]
    names = {name for name, _ in classes}
    for category in sorted(masked):
        name, color = custom_palette.names[category], custom_palette.colors[category]
        if (name, color) not in classes:
            classes.append((f"{name} (custom mask)" if name in names else name, color))
    return classes


def review_page(
    entries: Sequence[Entry], summary: Summary, custom_palette: Palette, palette: Palette
) -> str:
    """Write the HTML of a review; `entries` in the order of the page."""
    classes = legend([entry.item for entry in entries], custom_palette, palette)
    swatches = "\n".join(f"<li>{swatch(color)}{escape(name)}</li>" for name, color in classes)
    cards = "\n".join(card(entry, custom_palette, palette) for entry in entries)
    title = escape(summary.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}body {{ max-width: calc({4 * summary.width}px + 9rem); }}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{_counts(summary)}</p>
<p><a href="{SHEET}">The worst on one sheet</a></p>
<details><summary>How to read this page</summary><p>{HOW_TO_READ}</p></details>
<ul class="legend" aria-label="Colours of the classes">
{swatches}
<li><span class="swatch hatched"></span>void</li>
</ul>
</header>
<div class="filter" role="search" hidden>
<label>Name or class <input type="search"></label>
<label><input type="checkbox"> only with void</label>
<output aria-live="polite"></output>
</div>
<main>
{cards}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _counts(summary: Summary) -> str:
    """For example: 1,200 images, 431 with void. The 200 with the worst scores are shown."""
    cut = f"The {summary.shown:,} with the worst scores are shown, the worst first."
    whole = "All are shown, the worst score first."
    return (
        f"<strong>{number_of(summary.total, 'image')}</strong>, {summary.with_void:,} with void. "
        f"{whole if summary.shown == summary.total else cut}"
    )
