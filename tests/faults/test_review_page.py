"""Names in the review page are text, in attributes too."""

from html.parser import HTMLParser

import numpy as np
from PIL import Image

from detr_d2.ops.panoptic_ids import id_to_rgb
from detr_d2.pseudo_labels.review import write_review
from detr_d2.pseudo_labels.review_item import ReviewItem
from detr_d2.visualization import Palette

EVIL = '"><script>alert(1)</script> onload="x" \' & <img src=x onerror=y>'
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "href", "class", "aria-label", "aria-live", "role"),
    *("hidden", "type", "id", "data-words", "data-void", "src", "alt", "width", "height"),
    *("loading", "open", "scope", "style"),
}


class Tags(HTMLParser):
    """The names of elements and attributes, and the values of some attributes."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.values = [], set(), {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}
        for name, value in attrs:
            self.values.setdefault(name, []).append(value)


def test_no_name_becomes_an_element_or_an_attribute(tmp_path):
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "a.png")
    ids = np.zeros((20, 30), np.int32)
    ids[5:] = 1
    Image.fromarray(id_to_rgb(ids)).save(tmp_path / "ids.png")
    origin = {"source": EVIL, "classes": [EVIL], "score": 0.5, "filled": 1}
    segment = {"id": 1, "category_id": 0, "isthing": False, "provenance": origin}
    record = {
        "file_name": str(tmp_path / "a.png"),
        "pan_seg_file_name": str(tmp_path / "ids.png"),
        "segments_info": [segment],
    }
    palette = Palette([EVIL], [(200, 60, 50)])
    page = write_review(
        [ReviewItem(EVIL, record, record, 0.5, 0.25)],
        tmp_path / "review",
        custom_palette=palette,
        palette=palette,
        title=EVIL,
        width=60,
    )
    tags = Tags(page.read_text(encoding="utf-8"))
    assert tags.elements.count("script") == 1 and tags.elements.count("img") == 4
    assert tags.attributes <= ATTRIBUTES
    # As written, but for a run of blanks in the name of an image, which is shown as one.
    shown = " ".join(EVIL.split())
    assert tags.values["data-words"] == [f"{shown} {EVIL}"]
    assert [alt.startswith(f"{shown}: ") for alt in tags.values["alt"]] == [True] * 4
    assert f"1 {EVIL}" in tags.values["alt"][1]
    assert all(source.startswith("pictures/0001-") for source in tags.values["src"])
