"""Open the explanation page in a real browser, where Playwright and chromium are installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
# No sandbox: tests may run as root. The rest keeps the browser itself off the network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launch() -> Iterator[Any]:
    """The browser; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as programs:
        browser = programs.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A page that is open, and what it asked for and complained about meanwhile."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context = browser.new_context(**context)
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", lambda m: self.complaints.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready=true]", state="attached")

    def show(self, selector: str) -> Any:
        """Scroll to an element and wait until it, and all exhibits in it, are drawn."""
        element = self.page.locator(selector)
        element.evaluate(
            "element => element.scrollIntoView({ block: 'center', behavior: 'instant' })"
        )
        self.page.wait_for_selector(f"{selector}[data-drawn=true]")
        self.settle()
        return element

    def settle(self) -> None:
        """Wait until what was chosen last is drawn."""
        self.page.evaluate(
            "new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"
        )
        # Not wait_for_function: the page's security policy allows no evaluation of texts.
        self.page.wait_for_selector("[data-busy=true]", state="detached")

    def hover_cell(self, frame: Any, row: float, column: float) -> None:
        """Move the pointer to a place of a picture, given as fractions of its height and width."""
        box = frame.bounding_box()
        self.page.mouse.move(box["x"] + column * box["width"], box["y"] + row * box["height"])

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def close(self) -> None:
        self.context.close()
