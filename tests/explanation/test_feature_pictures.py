"""Maps of many channels as colours and as single channels."""

import pytest
import torch

from detr_d2.explanation import feature_pictures
from detr_d2.explanation.feature_pictures import picture_features, principal_colors, shrink


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (15, [[[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]]),
        # Cells beyond the border do not count.
        (14, [[[3, 5, 6.5], [10.5, 12.5, 14]]]),
        (2, [[[6.5, 9]]]),
    ],
)
def test_maps_are_averaged_until_few_cells_are_left(monkeypatch, most, expected):
    monkeypatch.setattr(feature_pictures, "MAX_CELLS", most)
    assert shrink(torch.arange(15.0).view(1, 3, 5)).tolist() == expected


def test_the_channels_that_vary_most_are_shown(monkeypatch):
    monkeypatch.setattr(feature_pictures, "MAX_CELLS", 4)
    ramp = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]])
    feature = torch.stack([ramp, 2 * ramp, 0 * ramp + 90, -3 * ramp, 5 * ramp])
    shown = picture_features(feature, 3)
    assert shown.shape == (5, 2, 4) and shown.channel_ids == [1, 3, 4]
    assert shown.channels.tolist() == [[[0, 2]], [[0, -3]], [[0, 5]]]
    length = (1 + 25 + 8100 + 9 + 4) ** 0.5
    assert shown.norm.tolist() == [[90, pytest.approx(length)]]
    assert len(picture_features(torch.randn(9, 3, 4)).channel_ids) == 6


@pytest.mark.parametrize("zeros", [0, 40])
def test_components_are_red_green_blue_by_size_and_large_ones_bright(zeros):
    """More channels than cells take the other of two ways."""
    feature = torch.zeros(3 + zeros, 3, 5)
    # Far from the mean: one cell of each channel, the first by most.
    feature[2, 0, 1], feature[0, 1, 2], feature[1, 2, 4] = -90.0, 50, 20
    # What all cells have does not count.
    feature += torch.linspace(300, 900, 3 + zeros)[:, None, None]
    colors = principal_colors(feature)
    assert colors.shape == (3, 5, 3) and colors.dtype == torch.uint8
    brightest = [divmod(int(colors[..., k].argmax()), 5) for k in range(3)]
    assert brightest == [(0, 1), (1, 2), (2, 4)]
    assert all(colors[..., k].max() == 255 and colors[..., k].min() == 0 for k in range(3))
    # But for these cells all are alike.
    assert colors[0, 0].tolist() == colors[2, 0].tolist()


def test_one_cell_far_away_does_not_make_all_others_alike():
    feature = torch.linspace(0, 1, 400).view(1, 20, 20).clone()
    feature[0, 0, 0] = 30
    colors = principal_colors(feature)
    assert colors[-1, -1, 0] > 200 > 60 > colors[0, 1, 0]
    assert colors[..., 1:].max() == 0, "there is one component"
    assert principal_colors(torch.ones(4, 3, 2)).max() == 0


def test_halves_of_opposite_values_differ():
    colors = principal_colors(torch.tensor([[[-1.0, 1.0]]]))
    assert sorted(colors[0, :, 0].tolist()) == [0, 255]
