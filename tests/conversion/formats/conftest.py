"""Converting in tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from converted_sets import Result

from detr_d2.conversion.convert import convert_set
from detr_d2.conversion.formats import open_format
from detr_d2.conversion.rasterize import Rules


@pytest.fixture
def converted(tmp_path: Path) -> Callable[..., Result]:
    """Convert an annotation format by name into a folder and read the result."""

    def convert(annotation_format: str, rules: Rules | None = None, **options: Any) -> Result:
        folder = tmp_path / "converted"
        report = convert_set(open_format(annotation_format, **options), folder, rules=rules)
        return Result(folder, report)

    return convert
