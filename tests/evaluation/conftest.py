"""Ground truth turned into the model's outputs."""

from collections.abc import Callable

import pytest
from model_outputs import evaluate_part


@pytest.fixture
def evaluate(tmp_path):
    """Run the named evaluators on perfect outputs, each changed by `change(record, output)`."""

    def _evaluate(
        name: str, evaluators: list[str], change: Callable = lambda record, output: output
    ) -> dict:
        return evaluate_part(name, evaluators, tmp_path / "inference", change)

    return _evaluate
