import torch

from detr_d2.explanation import factors
from detr_d2.explanation.factors import attention_factors, rounding_step, weights_of_factors


def test_factors_give_the_attention_weights(recorded):
    for call in recorded.trace.encoder:
        queries, keys = attention_factors(call)
        assert queries.shape == keys.shape == (8, 4, 15), "heads, d / heads, 3 x 5 cells"
        expected = call.weights()[0].double()
        torch.testing.assert_close(weights_of_factors(queries, keys), expected, rtol=0, atol=1e-5)
        sizes = queries.norm(dim=2)
        assert (sizes.diff(dim=1) <= 1e-9).all(), "the largest component first"
        torch.testing.assert_close(sizes, keys.norm(dim=2))


def test_rounding_moves_the_logits_by_the_wanted_error(recorded):
    queries, keys = attention_factors(recorded.trace.encoder[1])
    step = rounding_step(queries, keys, 0.01)
    rounded = [(x / step).round() * step for x in (queries, keys)]
    exact = queries.transpose(1, 2) @ keys
    error = (rounded[0].transpose(1, 2) @ rounded[1] - exact).square().mean().sqrt()
    assert 0.004 < error < 0.02


def test_the_error_is_the_same_a_few_rows_at_a_time(recorded, monkeypatch):
    """All rows of a large image do not fit into the memory."""
    call = recorded.trace.encoder[0]
    rounded = [(x / 0.1).round() * 0.1 for x in attention_factors(call)]
    exact = call.weights()[0].double()
    expected = ((weights_of_factors(*rounded) - exact).abs() / exact.amax(-1, keepdim=True)).max()
    monkeypatch.setattr(factors, "AT_ONCE", 8 * 15 * 4)
    seen = []
    monkeypatch.setattr(
        factors,
        "weights_of_factors",
        lambda q, k: seen.append(q.shape[-1]) or weights_of_factors(q, k),
    )
    assert abs(factors.largest_error(call, *rounded) - expected.item()) < 1e-5
    assert seen == [4, 4, 4, 3]
