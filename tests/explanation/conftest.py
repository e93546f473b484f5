"""A recorded pass of a tiny model that several tests share."""

from collections.abc import Callable
from typing import Any

import pytest
from tiny_explanation import PALETTE, tiny_image, tiny_predictor

from detr_d2.explanation.recorded_pass import RecordedPass, record_pass


@pytest.fixture(scope="session")
def recorded() -> RecordedPass:
    """A pass of the tiny panoptic model; of 72 x 100 pixels, run at 96 x 133."""
    return record_pass(tiny_predictor(), tiny_image(), PALETTE, "tiny.png", "random")


@pytest.fixture
def record_tiny() -> Callable[..., RecordedPass]:
    """A pass of a tiny model with other settings."""

    def _record(arch: str = "PanopticDetr", **keys: Any) -> RecordedPass:
        return record_pass(tiny_predictor(arch, **keys), tiny_image(), PALETTE, "tiny.png")

    return _record
