import pytest
import torch
from torch import nn

from detr_d2.modeling.position_encoding import sine_position_encoding
from detr_d2.modeling.transformer import Transformer


def build(pre_norm: bool = False) -> Transformer:
    torch.manual_seed(0)
    return Transformer(
        hidden_dim=16,
        nheads=2,
        dim_feedforward=32,
        enc_layers=2,
        dec_layers=3,
        dropout=0.1,
        pre_norm=pre_norm,
    ).eval()


@pytest.mark.parametrize("pre_norm", [False, True])
def test_garbage_in_the_padding_changes_nothing(pre_norm):
    transformer = build(pre_norm)
    queries = torch.randn(1, 5, 16)
    image = torch.randn(1, 16, 2, 3)
    alone = torch.zeros(1, 2, 3, dtype=torch.bool)
    expected, memory = transformer(image, alone, queries, sine_position_encoding(alone, 16))

    padded_image = torch.full((2, 16, 4, 5), 1e4)
    padded_image[0, :, :2, :3] = image[0]
    padded_image[1] = torch.randn(16, 4, 5)
    padding = torch.zeros(2, 4, 5, dtype=torch.bool)
    padding[0, 2:], padding[0, :, 3:] = True, True
    found, padded = transformer(padded_image, padding, queries, sine_position_encoding(padding, 16))

    assert found.shape == (1, 3, 2, 5, 16) and padded.shape == (2, 16, 4, 5)
    torch.testing.assert_close(found[:, :, :1], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded[:1, :, :2, :3], memory, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_encoded_image_and_every_decoder_layer_are_normalised(pre_norm):
    padding = torch.zeros(1, 2, 2, dtype=torch.bool)
    image = torch.randn(1, 16, 2, 2)
    place = sine_position_encoding(padding, 16)
    layers, encoded = build(pre_norm)(image, padding, torch.randn(1, 4, 16), place)
    torch.testing.assert_close(encoded.mean(1), torch.zeros(1, 2, 2), atol=1e-5, rtol=0)
    assert layers.shape == (1, 3, 1, 4, 16)
    torch.testing.assert_close(layers.mean(-1), torch.zeros(1, 3, 1, 4), atol=1e-5, rtol=0)


def test_positions_never_reach_the_values():
    # With all attention weights equal (zero keys and queries), positions must have no effect.
    transformer = build()
    for layer in transformer.encoder.layers:
        layer.self_attn.in_proj_weight.data[:32] = 0
    padding = torch.zeros(1, 1, 4, dtype=torch.bool)
    image, queries = torch.randn(1, 16, 1, 4), torch.randn(1, 2, 16)
    _, one = transformer(image, padding, queries, torch.zeros_like(image))
    _, other = transformer(image, padding, queries, torch.randn_like(image))
    torch.testing.assert_close(one, other)


def test_positions_of_queries_never_reach_the_values():
    transformer = build()
    for layer in transformer.decoder.layers:
        for attention in (layer.self_attn, layer.multihead_attn):
            attention.in_proj_weight.data[:32] = 0
    padding = torch.zeros(1, 1, 4, dtype=torch.bool)
    image = torch.randn(1, 16, 1, 4)
    place = sine_position_encoding(padding, 16)
    one, _ = transformer(image, padding, torch.zeros(1, 2, 16), place)
    other, _ = transformer(image, padding, torch.randn(1, 2, 16), place)
    torch.testing.assert_close(one, other)


def test_query_groups_do_not_see_each_other():
    transformer, padding = build(), torch.zeros(2, 2, 3, dtype=torch.bool)
    image, queries = torch.randn(2, 16, 2, 3), torch.randn(3, 5, 16)
    position = sine_position_encoding(padding, 16)
    together, _ = transformer(image, padding, queries, position)
    assert together.shape == (3, 3, 2, 5, 16)
    for i in range(3):
        alone, _ = transformer(image, padding, queries[i : i + 1], position)
        torch.testing.assert_close(together[i], alone[0])


def test_no_padding_is_what_an_empty_mask_says(monkeypatch):
    """With nothing padded no mask is given to attention, with the result of a mask of zeros."""
    transformer, padding = build(), torch.zeros(2, 2, 3, dtype=torch.bool)
    image, queries = torch.randn(2, 16, 2, 3), torch.randn(1, 5, 16)
    position = sine_position_encoding(padding, 16)
    masks = []
    for name in ("encoder", "decoder"):
        part = getattr(transformer, name)
        part.register_forward_pre_hook(
            lambda _, args, index=1 if name == "encoder" else 2: masks.append(args[index])
        )
    found, memory = transformer(image, padding, queries, position)
    assert masks == [None, None]
    flat = padding.flatten(1)
    inputs = [x.flatten(2).transpose(1, 2) for x in (image, position)]
    expected = transformer.encoder(inputs[0], flat, inputs[1])
    torch.testing.assert_close(memory.flatten(2).transpose(1, 2), expected)
    start = torch.zeros(2, 5, 16)
    expected = transformer.decoder(start, expected, flat, queries.expand(2, 5, 16), inputs[1])
    torch.testing.assert_close(found[0], expected)


class Noted(nn.Module):
    """Stands for dropout; notes the sizes of what it gets."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, x):
        self.sizes.append(x.shape[-1])
        return x


@pytest.mark.parametrize("pre_norm", [False, True])
def test_dropout_follows_every_sublayer_and_the_inner_relu(pre_norm):
    """After self-attention, (attention to the image,) inside feed-forward (32), and after it."""
    transformer = build(pre_norm)
    for layer in (*transformer.encoder.layers, *transformer.decoder.layers):
        layer.dropout = Noted()
    padding = torch.zeros(1, 2, 2, dtype=torch.bool)
    position = sine_position_encoding(padding, 16)
    transformer(torch.randn(1, 16, 2, 2), padding, torch.randn(1, 4, 16), position)
    assert [layer.dropout.sizes for layer in transformer.encoder.layers] == [[16, 32, 16]] * 2
    assert [layer.dropout.sizes for layer in transformer.decoder.layers] == [[16, 16, 32, 16]] * 3
