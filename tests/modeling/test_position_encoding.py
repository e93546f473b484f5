import math

import pytest
import torch

from detr_d2.modeling.position_encoding import sine_position_encoding


def test_first_channels_are_sine_and_cosine_of_y_then_x():
    encoding = sine_position_encoding(torch.zeros(1, 2, 4, dtype=torch.bool), 8)
    # Row 1 of 2 is at pi, column 1 of 4 at pi / 2; the first wave has length 1.
    assert encoding.shape == (1, 8, 2, 4)
    assert encoding[0, 0, 0, 0] == pytest.approx(math.sin(math.pi), abs=1e-4)
    assert encoding[0, 1, 0, 0] == pytest.approx(math.cos(math.pi), abs=1e-4)
    assert encoding[0, 4, 0, 0] == pytest.approx(1.0, abs=1e-4)
    assert encoding[0, 5, 0, 0] == pytest.approx(0.0, abs=1e-4)
    # The second wave is temperature ** (2 / 4) = 100 times longer.
    assert encoding[0, 2, 1, 0] == pytest.approx(math.sin(2 * math.pi / 100), abs=1e-4)


def test_padding_changes_nothing_inside_the_image():
    alone = sine_position_encoding(torch.zeros(1, 2, 3, dtype=torch.bool), 16)
    padded = torch.ones(1, 4, 5, dtype=torch.bool)
    padded[:, :2, :3] = False
    together = sine_position_encoding(padded, 16)
    torch.testing.assert_close(together[:, :, :2, :3], alone)
    # Rows and columns of padding alone have a place too.
    assert together.isfinite().all()


def test_channels_must_be_a_multiple_of_four():
    with pytest.raises(ValueError, match="HIDDEN_DIM is 6; allowed: a multiple of 4"):
        sine_position_encoding(torch.zeros(1, 2, 2, dtype=torch.bool), 6)
