import pytest
import torch
from torch import nn
from torch.nn import functional as F

from detr_d2.modeling.mask_head import conv_upsampled_sum


def plain(x, lateral, conv):
    return conv(F.interpolate(x, size=lateral.shape[-2:], mode="nearest") + lateral)


def test_a_single_value_is_seen_by_the_taps_that_fall_on_it():
    # x = 1 lies on all of 2 x 2 pixels; a kernel of ones counts the taps inside: 4 everywhere.
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(conv.weight)
    x, lateral = torch.ones(2, 1, 1, 1), torch.zeros(1, 2, 2)
    assert conv_upsampled_sum(x, lateral, conv).tolist() == [[[[4.0, 4.0], [4.0, 4.0]]]] * 2


SIZES = [(6, 8), (5, 8), (6, 7), (5, 7), (3, 4), (9, 12), (5, 4)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("queries", [0, 1, 2, 5])
def test_equals_the_plain_computation_in_value_and_gradient(size, queries):
    """Doubled, lacking a row, a column or both, equal, tripled, and doubled one way only."""
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 4, 3, padding=1).double()
    x = torch.randn(queries, 6, 3, 4, dtype=torch.double, requires_grad=True)
    lateral = torch.randn(6, *size, dtype=torch.double, requires_grad=True)
    everything = [x, lateral, *conv.parameters()]
    results = []
    for compute in (conv_upsampled_sum, plain):
        value = compute(x, lateral, conv)
        results.append([value, *torch.autograd.grad((value**3).sum(), everything)])
    assert results[0][0].shape == (queries, 4, *size)
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_a_map_of_one_cell(size):
    conv = nn.Conv2d(2, 3, 3, padding=1)
    x, lateral = torch.randn(4, 2, 1, 1), torch.randn(2, *size)
    torch.testing.assert_close(conv_upsampled_sum(x, lateral, conv), plain(x, lateral, conv))
