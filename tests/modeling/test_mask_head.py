import torch
from dense_mask_head import dense_masks

from detr_d2.modeling import FPNMaskHead


def make_inputs(seed: int = 0):
    """Two images of 6 queries; features of odd sizes, as 40 x 52 pixels give them."""
    torch.manual_seed(seed)
    head = FPNMaskHead(hidden_dim=32, num_maps=4, feature_channels=[12, 8, 6]).double()
    image = torch.randn(2, 32, 2, 2, dtype=torch.double, requires_grad=True)
    attention = torch.rand(2, 6, 4, 2, 2, dtype=torch.double, requires_grad=True)
    sizes = [(12, 3, 4), (8, 5, 7), (6, 10, 13)]
    features = [torch.randn(2, *s, dtype=torch.double, requires_grad=True) for s in sizes]
    return head, image, attention, features


def test_chosen_queries_equal_the_dense_computation_in_value_and_gradient():
    head, image, attention, features = make_inputs()
    wanted = [[4, 1, 2], [5]]
    everything = [*head.parameters(), image, attention, *features]

    expected = dense_masks(head, image, attention, features)
    expected = [expected[i, rows] for i, rows in enumerate(wanted)]
    expected_gradients = torch.autograd.grad(sum((m**2).sum() for m in expected), everything)

    found = head(image, [attention[i, rows] for i, rows in enumerate(wanted)], features)
    gradients = torch.autograd.grad(sum((m**2).sum() for m in found), everything)

    assert [m.shape for m in found] == [(3, 10, 13), (1, 10, 13)]
    for a, b in zip([*found, *gradients], [*expected, *expected_gradients], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_an_image_without_queries_has_no_masks_and_others_are_not_touched():
    head, image, attention, features = make_inputs()
    found = head(image, [attention[0, :0], attention[1, 3:4]], features)
    assert found[0].shape == (0, 10, 13)
    torch.testing.assert_close(found[1], dense_masks(head, image, attention, features)[1, 3:4])
    found[0].sum().backward()


def test_published_widths():
    head = FPNMaskHead(hidden_dim=256, num_maps=8, feature_channels=[1024, 512, 256])
    shapes = [tuple(conv.weight.shape[:2]) for conv in head.convs]
    assert shapes == [(264, 264), (128, 264), (64, 128), (32, 64), (16, 32)]
    assert [tuple(a.weight.shape[:2]) for a in head.adapters] == [(128, 1024), (64, 512), (32, 256)]
    assert tuple(head.output.weight.shape) == (1, 16, 3, 3)
    assert [norm.num_groups for norm in head.norms] == [8] * 5


def test_a_fresh_head_already_predicts_a_mask_of_its_own_for_every_query():
    # Two queries that look at opposite halves of 20 x 20 cells; maps sum to 1 over heads and cells.
    torch.manual_seed(0)
    head = FPNMaskHead(hidden_dim=32, num_maps=4, feature_channels=[12, 8, 6])
    attention = torch.zeros(2, 4, 20, 20)
    attention[0, :, :10], attention[1, :, 10:] = 1 / 800, 1 / 800
    features = [torch.randn(1, c, 20 * k, 20 * k) for c, k in ((12, 1), (8, 2), (6, 4))]
    one, other = head(torch.randn(1, 32, 20, 20), [attention], features)[0]
    # With the usual initial weights the two differ by a ten-thousandth of their own variation.
    assert (one - other).std() > 0.01 * one.std()
