"""Converting in tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from converted_sets import Result

from detr_d2.data.conversion import convert_set
from detr_d2.data.convert import Rules
from detr_d2.data.forms import open_form


@pytest.fixture
def converted(tmp_path: Path) -> Callable[..., Result]:
    """Convert a form by name into a folder and read the result."""

    def convert(form: str, rules: Rules | None = None, **options: Any) -> Result:
        folder = tmp_path / "converted"
        report = convert_set(open_form(form, **options), folder, rules=rules)
        return Result(folder, report)

    return convert
