"""Pictures whose name does not say in which format they are to be written."""

import numpy as np
import pytest

from detr_d2.visualization import save_picture


@pytest.mark.parametrize("name", ["data", "data.", "data.xyz", "da.ta/picture"])
def test_a_picture_without_an_extension_is_rejected_and_nothing_is_written(tmp_path, name):
    with pytest.raises(ValueError, match=r"needs an extension such as \.png"):
        save_picture(tmp_path / name, np.zeros((2, 3, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
