from typing import Any

import pytest
from tiny_model import make_input


@pytest.fixture
def half_empty_batch() -> list[dict[str, Any]]:
    """Two images of different, non-square size; the second has no object."""
    return [make_input(64, 96, 3, seed=1), make_input(80, 72, 0, seed=2)]
