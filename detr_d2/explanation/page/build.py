"""Put template, style sheets, scripts and data of the explanation page into one HTML text.

The scripts share one function scope, in the order of their names below; none is a module, so the
page opens from a file. Data lies in `<script type="text/plain">` elements as gzipped base64, which
the browser neither runs nor parses.
"""

import html
import re
from pathlib import Path

from detr_d2.explanation.payload import Payload

HERE = Path(__file__).parent

STYLES = ("colours", "layout", "stops", "pictures", "controls", "diagrams")
SCRIPTS = (
    "dom",
    "arrays",
    "colormap",
    "resize",
    "merge",
    "encoder",
    "state",
    "queries",
    "heat",
    "point",
    "stop",
    "source",
    "schematic",
    "features",
    "attention",
    "decoder",
    "embeddings",
    "detections",
    "bbox_attention",
    "fpn",
    "masks",
    "segment_map",
    "live_merge",
    "merge_stop",
    "panoptic",
    "inspector",
    "walk",
    "main",
)


def build_page(payload: Payload) -> str:
    """Return the whole page as HTML text.

    Args:
        payload: metadata and packed arrays of one forward pass, see `explanation.payload`.
    """
    data = {"meta": payload.packed_meta}
    data |= {f"array-{name}": text for name, text in payload.packed.items()}
    parts = {
        "title": html.escape(str(payload.meta["title"])),
        "styles": "\n".join(_read("styles", name, "css") for name in STYLES),
        "scripts": "\n".join(_read("scripts", name, "js") for name in SCRIPTS),
        "data": "\n".join(
            f'<script type="text/plain" id="{html.escape(name)}">{text}</script>'
            for name, text in data.items()
        ),
    }
    template = (HERE / "template.html").read_text(encoding="utf-8")
    # One pass over the template, so that nothing inside a part is taken for a placeholder.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _read(folder: str, name: str, suffix: str) -> str:
    return (HERE / folder / f"{name}.{suffix}").read_text(encoding="utf-8")
