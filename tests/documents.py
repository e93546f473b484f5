"""The Markdown documents as the tests read them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("configs", "datasets", "detr_d2", "docs", "tests", "tools")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(document: str | Path) -> str:
    """The text of a document, by its path from the root."""
    return (ROOT / document).read_text(encoding="utf-8")


def fenced(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [block for found, block in FENCE.findall(text) if found == language]


def name_of_block(block: str) -> str:
    """The file name that the first line of a block gives as a comment, "" if none."""
    match = re.match(r"# (\S+)\n", block)
    return match[1] if match else ""


def named_blocks(language: str) -> dict[str, str]:
    """All fenced blocks of a language that say what file they are, by that name."""
    blocks = [block for path in DOCUMENTS for block in fenced(text_of(path), language)]
    named = [(name_of_block(block), block) for block in blocks]
    assert len({name for name, _ in named}) == len(named), "two blocks have the same name, or none"
    return dict(named)
