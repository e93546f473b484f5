import pytest
import torch

from detr_d2.modeling.bbox_attention import BBoxAttention


def identity_attention(normalize: str) -> BBoxAttention:
    attention = BBoxAttention(hidden_dim=2, num_maps=2, normalize=normalize)
    for linear in (attention.q_linear, attention.k_linear):
        linear.weight.data = torch.eye(2)
    return attention


# One query (1, 0): head 0 compares channel 0 of the image, head 1 sees a zero and is flat.
# Two cells with channel 0 = log 3 and 0: weights 3 and 1 for head 0, 1 and 1 for head 1.
QUERY = torch.tensor([[[1.0, 0.0]]])
IMAGE = torch.tensor([[[[3.0, 1.0]], [[5.0, 7.0]]]])
IMAGE[0, 0] = IMAGE[0, 0].log()
NO_PADDING = torch.zeros(1, 1, 2, dtype=torch.bool)


def test_joint_softmax_runs_over_heads_and_pixels():
    maps = identity_attention("joint")(QUERY, IMAGE, NO_PADDING)
    expected = torch.tensor([[[3 / 6, 1 / 6]], [[1 / 6, 1 / 6]]])
    torch.testing.assert_close(maps[0, 0], expected)


def test_per_head_softmax_runs_over_pixels():
    maps = identity_attention("per_head")(QUERY, IMAGE, NO_PADDING)
    expected = torch.tensor([[[3 / 4, 1 / 4]], [[1 / 2, 1 / 2]]])
    torch.testing.assert_close(maps[0, 0], expected)


@pytest.mark.parametrize("normalize", ["joint", "per_head"])
def test_padding_has_no_weight_and_no_influence(normalize):
    attention = BBoxAttention(hidden_dim=8, num_maps=4, normalize=normalize)
    image = torch.randn(2, 8, 3, 5)
    padding = torch.zeros(2, 3, 5, dtype=torch.bool)
    padding[0, 2:], padding[0, :, 3:] = True, True
    queries = torch.randn(2, 6, 8)
    alone = attention(queries[:1], image[:1, :, :2, :3], torch.zeros(1, 2, 3, dtype=torch.bool))
    image[0, :, 2:], image[0, :, :, 3:] = 1e4, -1e4
    together = attention(queries, image, padding)
    assert together.shape == (2, 6, 4, 3, 5)
    assert together[0][..., padding[0]].abs().max() == 0
    torch.testing.assert_close(together[:1, :, :, :2, :3], alone, atol=1e-5, rtol=0)


def test_scale_is_that_of_one_head():
    # d = 4, one head: logits are divided by 2. Query (2,0,0,0) on cells 1 and 0: e^1 against e^0.
    attention = BBoxAttention(hidden_dim=4, num_maps=1, normalize="joint")
    for linear in (attention.q_linear, attention.k_linear):
        linear.weight.data = torch.eye(4)
    image = torch.zeros(1, 4, 1, 2)
    image[0, 0, 0, 0] = 1.0
    maps = attention(torch.tensor([[[2.0, 0, 0, 0]]]), image, NO_PADDING)
    e = torch.tensor(1.0).exp()
    torch.testing.assert_close(maps.flatten(), torch.stack([e / (e + 1), 1 / (e + 1)]))


def test_bad_arguments_name_the_allowed_values():
    with pytest.raises(ValueError, match="'joint', 'per_head'"):
        BBoxAttention(hidden_dim=8, num_maps=2, normalize="both")
    with pytest.raises(ValueError, match=r"HIDDEN_DIM is 8; allowed: a multiple of .*NHEADS, 3"):
        BBoxAttention(hidden_dim=8, num_maps=3, normalize="joint")
