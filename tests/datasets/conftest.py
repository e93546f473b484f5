"""The prepare scripts, which are no package: they are imported from their folder."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of `datasets/` by its name."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "datasets"))
    return importlib.import_module
