"""Fresh weights: a training starts from them, and nothing else shows that they are wrong."""

import math

import torch
from tiny_model import build, tiny_cfg
from torch import nn


def largest_share(parameter, bound):
    """Largest absolute value as a share of the bound of a uniform distribution."""
    return float(parameter.detach().abs().max()) / bound


def test_matrices_of_transformer_and_bbox_attention_start_as_xavier_says():
    cfg = tiny_cfg()
    cfg.MODEL.DETR.DIM_FEEDFORWARD = 64
    model = build(cfg)
    for part in (model.transformer, model.bbox_attention):
        for name, parameter in part.named_parameters():
            if parameter.dim() == 2:
                bound = math.sqrt(6 / sum(parameter.shape))
                assert 0.9 < largest_share(parameter, bound) <= 1, name
    for linear in (model.bbox_attention.q_linear, model.bbox_attention.k_linear):
        assert not linear.bias.any()


def test_convolutions_of_the_mask_head_start_as_kaiming_says_and_without_bias():
    head = build(tiny_cfg()).mask_head
    with torch.no_grad():
        # What reads attention maps, whose values are small, starts larger.
        head.convs[0].weight[:, head.image_channels :] /= 256
    found = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    assert len(found) == 5 + 3 + 1
    for module in found:
        # Uniform with a = 1: the bound is sqrt(6 / (1 + a^2) / inputs).
        bound = math.sqrt(3 / module.weight[0].numel())
        # The last one has 18 numbers only.
        assert 0.7 < largest_share(module.weight, bound) <= 1
        assert not module.bias.any()


def test_queries_of_all_groups_start_apart():
    cfg = tiny_cfg()
    cfg.MODEL.DETR.QUERY_GROUPS = 3
    cfg.MODEL.DETR.NUM_QUERIES = 100
    model = build(cfg)
    groups = [q.detach() for q in (model.query_embed.weight, *model.extra_queries)]
    assert [group.shape for group in groups] == [(100, 32)] * 3
    for group in groups:
        # 3,200 numbers of the normal distribution.
        assert abs(float(group.mean())) < 0.1 and abs(float(group.std()) - 1) < 0.1
    everything = torch.cat([group.flatten() for group in groups])
    assert len(everything.unique()) > 0.99 * len(everything)
