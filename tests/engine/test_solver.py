import pytest
import torch
from detectron2.config import get_cfg
from torch import nn

from detr_d2.config import add_detr_config
from detr_d2.engine.solver import build_gradient_clipper, build_optimizer


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.backbone_adapter = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.SOLVER.BASE_LR = 0.01
    cfg.SOLVER.WEIGHT_DECAY = 0.2
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.05
    return cfg


def settings_of(optimizer, model):
    """{parameter name: (learning rate, weight decay)}."""
    names = {p: name for name, p in model.named_parameters()}
    return {
        names[p]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def test_backbone_learns_slower_norms_decay_less_and_the_frozen_part_is_skipped(cfg):
    model = Model()
    settings = settings_of(build_optimizer(cfg, model), model)
    assert settings["backbone.weight"] == pytest.approx((0.001, 0.2))
    # A name that only starts alike is not the backbone.
    assert settings["backbone_adapter.weight"] == pytest.approx((0.01, 0.2))
    assert settings["norm.weight"] == pytest.approx((0.01, 0.05))
    assert not any(name.startswith("frozen") for name in settings)


@pytest.mark.parametrize("name", ["ADAMW", "SGD"])
def test_rates_by_config(cfg, name):
    cfg.SOLVER.OPTIMIZER = name
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.3
    cfg.SOLVER.BIAS_LR_FACTOR = 2.0
    model = Model()
    settings = settings_of(build_optimizer(cfg, model), model)
    assert settings["backbone.weight"][0] == pytest.approx(0.003)
    assert settings["norm.weight"][0] == pytest.approx(0.01)
    assert settings["backbone_adapter.bias"][0] == pytest.approx(0.02)


def test_optimizer_by_name(cfg):
    assert isinstance(build_optimizer(cfg, Model()), torch.optim.AdamW)
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.SOLVER.MOMENTUM = 0.7
    optimizer = build_optimizer(cfg, Model())
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["momentum"] == 0.7


def test_unknown_optimizer_names_the_choices(cfg):
    cfg.SOLVER.OPTIMIZER = "LAMB"
    with pytest.raises(ValueError, match="'LAMB', allowed: 'ADAMW', 'SGD'"):
        build_optimizer(cfg, Model())


def test_a_model_that_cannot_learn_is_an_error(cfg):
    with pytest.raises(ValueError, match="no parameter of the model learns"):
        build_optimizer(cfg, Model().requires_grad_(False))


def clipped(cfg, kind, limit):
    """Gradients (3, 0) and (0, 4), common norm 5, after clipping."""
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = kind
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = limit
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    parameters[0].grad = torch.tensor([3.0, 0.0])
    parameters[1].grad = torch.tensor([0.0, 4.0])
    norm = build_gradient_clipper(cfg)(parameters)
    return norm, [p.grad.tolist() for p in parameters]


def test_full_model_clipping_scales_all_gradients_by_one_factor(cfg):
    norm, (first, second) = clipped(cfg, "full_model", 1.0)
    assert norm == pytest.approx(5.0)
    assert first == pytest.approx([0.6, 0.0], abs=1e-5)
    assert second == pytest.approx([0.0, 0.8], abs=1e-5)


def test_detectron2s_clipping_treats_parameters_and_values_alone(cfg):
    _, (first, second) = clipped(cfg, "norm", 3.5)
    assert first == pytest.approx([3.0, 0.0])
    assert second == pytest.approx([0.0, 3.5], abs=1e-5)
    _, (first, second) = clipped(cfg, "value", 2.0)
    assert (first, second) == ([2.0, 0.0], [0.0, 2.0])


def test_clipping_off_and_unknown(cfg):
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    assert build_gradient_clipper(cfg) is None
    with pytest.raises(ValueError, match="'all', allowed: 'full_model', 'norm', 'value'"):
        clipped(cfg, "all", 1.0)


def test_momentum_of_nesterov_and_decay_of_biases_by_config(cfg):
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.SOLVER.NESTEROV = True
    cfg.SOLVER.WEIGHT_DECAY_BIAS = 0.07
    model = Model()
    optimizer = build_optimizer(cfg, model)
    assert [group["nesterov"] for group in optimizer.param_groups] == [True] * len(
        optimizer.param_groups
    )
    decays = {name: decay for name, (_, decay) in settings_of(optimizer, model).items()}
    assert decays["backbone.weight"] == 0.2
    assert decays["backbone.bias"] == 0.07
    assert decays["norm.weight"] == 0.05


def test_the_norm_of_clipping_by_config(cfg):
    # The sum of 3 and 4 where the power is 1.
    cfg.SOLVER.CLIP_GRADIENTS.NORM_TYPE = 1.0
    norm, (first, second) = clipped(cfg, "full_model", 3.5)
    assert norm == pytest.approx(7.0)
    assert first == pytest.approx([1.5, 0.0]) and second == pytest.approx([0.0, 2.0])
