"""The page as a text: what a browser would take for its own is marked."""

import re

from detr_d2.explanation.page import build_page
from detr_d2.explanation.payload import Payload


def test_a_title_ends_nothing_and_is_no_placeholder():
    title = "</title><script>alert('1')</script> & {{data}}"
    text = build_page(Payload({"title": title}, {}))
    escaped = "&lt;/title&gt;&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; {{data}}"
    assert f"<title>{escaped}: one forward pass" in text
    assert "<script>alert" not in text


def test_every_array_has_its_name_and_text():
    text = build_page(Payload({"title": "a.jpg"}, {"masks": "AAAA", 'x"><b>': "BBBB"}))
    data = re.findall(r'<script type="text/plain" id="([^"]*)">([^<]*)</script>', text)
    assert dict(data[1:]) == {"array-masks": "AAAA", "array-x&quot;&gt;&lt;b&gt;": "BBBB"}
    assert data[0][0] == "meta" and "{{" not in text.split("<script>", 1)[0]
