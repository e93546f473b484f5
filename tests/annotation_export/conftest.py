"""Findings for all writers."""

import pytest
from annotation_findings import write_findings

from detr_d2.annotation_export import Finding


@pytest.fixture
def findings(tmp_path) -> list[Finding]:
    """What was found in two images below tmp_path/images."""
    return write_findings(tmp_path / "images")
