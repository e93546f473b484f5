"""The page of a review: one HTML file that needs nothing but the pictures beside it."""

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detr_d2.pseudo_labels.review_item import ReviewItem
from detr_d2.pseudo_labels.review_style import SCRIPT, STYLE
from detr_d2.visualization.overlay import segment_colors
from detr_d2.visualization.palette import Color, Palette

WORST = "worst.jpg"
HOW_TO_READ = """
Every image appears four times: as it is, with the custom masks, with the result, and with all
that has no label (void) hatched. Custom masks are kept as they are; all other labels come from the
model. The score says how sure the model was of a segment, from 0 to 1; the images with the worst
come first. Filled pixels are those that a segment took over from what was removed beside it.
Nothing is learned from void.
"""
# A longer table of segments is folded up at first.
OPEN_ROWS = 12
NOTHING = "–"


@dataclass(frozen=True)
class Entry:
    """An image with its pictures.

    Args:
        number: its place on the page, from 1.
        item: its labels and scores.
        files: of its pictures relative to the page: `image`, `custom`, `result`, `void`.
        size: of each picture, width and height in pixels.
    """

    number: int
    item: ReviewItem
    files: Mapping[str, str]
    size: tuple[int, int]


@dataclass(frozen=True)
class Summary:
    """The numbers of images: in all, with void, and shown.

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

    A custom class with the name of one of the result, but another colour, is marked.
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
    """Return the HTML of a review; `entries` in the order of the page."""
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
<p><a href="{WORST}">The worst as one image grid</a></p>
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


def card(entry: Entry, custom_palette: Palette, palette: Palette) -> str:
    """The HTML of one image: name, score, pictures, segments."""
    item, anchor = entry.item, f"image-{entry.number:04}"
    void = escape(item.void_text)
    pictures = {
        "image": ("image", "the image"),
        "custom": ("custom masks", _class_counts(item.masks, custom_palette)),
        "result": ("result", _class_counts(item.segments, palette)),
        "void": (void, "no void" if not item.void_share else f"{void}, hatched"),
    }
    figures = "\n".join(_figure(entry, key, *texts) for key, texts in pictures.items())
    classes = dict.fromkeys(palette.names[s["category_id"]] for s in item.segments)
    words = escape(" ".join([item.shown_name, *classes]))
    mark, badge = (" data-void", "badge void") if item.void_share else ("", "badge")
    return f"""<article id="{anchor}" data-words="{words}"{mark}>
<header>
<h2><a class="number" href="#{anchor}">{entry.number}</a> {escape(item.shown_name)}</h2>
<span class="badge">worst score {item.score:.2f}</span>
<span class="{badge}">{void}</span>
</header>
<div class="pictures">
{figures}
</div>
{_table(item.segments, palette)}
</article>"""


def escape(text: str) -> str:
    """Text for HTML, inside quotation marks too."""
    return html.escape(text, quote=True)


def number_of(count: int, noun: str) -> str:
    """For example "1 image", "1,200 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def swatch(color: Color) -> str:
    """A small square of a colour."""
    return f'<span class="swatch" style="background:#{bytes(color).hex()}"></span>'


def _figure(entry: Entry, key: str, caption: str, alt: str) -> str:
    """A captioned picture; the texts are HTML."""
    file, (width, height) = entry.files[key], entry.size
    described = f"{escape(entry.item.shown_name)}: {alt}"
    return (
        f'<figure><figcaption>{caption}</figcaption><a href="{file}"><img src="{file}" '
        f'alt="{described}" width="{width}" height="{height}" loading="lazy"></a></figure>'
    )


def _class_counts(segments: Sequence[Mapping[str, Any]], palette: Palette) -> str:
    """For example "2 brick, 1 sky", escaped."""
    counts = Counter(palette.names[segment["category_id"]] for segment in segments)
    listed = ", ".join(f"{count} {escape(name)}" for name, count in counts.items())
    return listed or "no segments"


def _table(segments: Sequence[Mapping[str, Any]], palette: Palette) -> str:
    """The segments in a table: the least certain first, those without a score last."""
    if not segments:
        return "<p>No segments: all is void.</p>"
    colors = segment_colors(segments, palette)
    order = sorted(range(len(segments)), key=lambda index: _rank(segments[index]))
    rows = "\n".join(_row(segments[index], colors[index], palette) for index in order)
    return f"""<details{" open" if len(segments) <= OPEN_ROWS else ""}>
<summary>{number_of(len(segments), "segment")}</summary>
<div class="scroll"><table>
<thead><tr><th scope="col">class</th><th scope="col">source</th><th scope="col">model's classes</th>
<th scope="col" class="count">score</th><th scope="col" class="count">filled pixels</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table></div></details>"""


def _rank(segment: Mapping[str, Any]) -> tuple[bool, float]:
    score = segment["provenance"]["score"]
    return score is None, score or 0.0


def _row(segment: Mapping[str, Any], color: Color, palette: Palette) -> str:
    origin = segment["provenance"]
    score = NOTHING if origin["score"] is None else f"{origin['score']:.2f}"
    filled = f"{origin['filled']:,}" if origin["filled"] else NOTHING
    name = escape(palette.names[segment["category_id"]])
    classes = escape(", ".join(origin["classes"])) or NOTHING
    return (
        f'<tr><th scope="row">{swatch(color)}{name}</th><td>{escape(origin["source"])}</td>'
        f'<td>{classes}</td><td class="count">{score}</td><td class="count">{filled}</td></tr>'
    )
