"""Optimizer and gradient clipping from the config, as DETR was trained (arXiv:2005.12872, A.4)."""

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver.build import get_default_optimizer_params
from torch import Tensor, nn

logger = logging.getLogger(__name__)

CLIP_TYPES = ("full_model", "norm", "value")

# Clips the gradients of these parameters in place; "full_model" gives their norm before clipping.
Clipper = Callable[[Iterable[Tensor]], Tensor | None]


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Optimizer over the parameters that learn, with the backbone's own learning rate.

    Reads SOLVER.OPTIMIZER ("ADAMW" or "SGD"), BASE_LR, BACKBONE_MULTIPLIER, WEIGHT_DECAY (with
    Detectron2's exceptions for norms and biases), and for SGD MOMENTUM and NESTEROV.

    Args:
        cfg: the whole config.
        model: not yet wrapped for several processes; "backbone..." names are the backbone.

    Raises:
        ValueError: unknown optimizer, or a model without a parameter that learns.
    """
    solver = cfg.SOLVER

    def lr_factor(name: str) -> float:
        return solver.BACKBONE_MULTIPLIER if name.startswith("backbone.") else 1.0

    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        lr_factor_func=lr_factor,
    )
    if not groups:
        raise ValueError("no parameter of the model learns (requires_grad is False for all)")
    common: dict[str, Any] = {"lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY}
    if solver.OPTIMIZER == "ADAMW":
        return _fastest(torch.optim.AdamW, groups, common)
    if solver.OPTIMIZER == "SGD":
        common.update(momentum=solver.MOMENTUM, nesterov=solver.NESTEROV)
        return _fastest(torch.optim.SGD, groups, common)
    raise ValueError(f"SOLVER.OPTIMIZER {solver.OPTIMIZER!r}, allowed: 'ADAMW', 'SGD'")


def _fastest(
    optimizer: Callable[..., torch.optim.Optimizer],
    groups: list[dict[str, Any]],
    common: dict[str, Any],
) -> torch.optim.Optimizer:
    """One fused kernel where this torch has it for the device, else torch's own choice."""
    if "fused" in inspect.signature(optimizer).parameters:
        try:
            return optimizer(groups, **common, fused=True)
        except RuntimeError as error:
            logger.info("No fused optimizer here: %s", error)
    return optimizer(groups, **common)


def build_gradient_clipper(cfg: CfgNode) -> Clipper | None:
    """Clipping by SOLVER.CLIP_GRADIENTS, or None when it is off.

    "full_model" scales all gradients together so that their common norm is at most CLIP_VALUE, as
    DETR does; Detectron2's own "norm" and "value" treat each parameter alone.

    Raises:
        ValueError: unknown CLIP_TYPE.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return None
    limit, norm_type = float(clip.CLIP_VALUE), float(clip.NORM_TYPE)

    def full_model(parameters: Iterable[Tensor]) -> Tensor:
        return nn.utils.clip_grad_norm_(parameters, limit, norm_type)

    def norm(parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, limit, norm_type)

    def value(parameters: Iterable[Tensor]) -> None:
        nn.utils.clip_grad_value_(parameters, limit)

    clippers: dict[str, Clipper] = dict(zip(CLIP_TYPES, (full_model, norm, value), strict=True))
    if clip.CLIP_TYPE not in clippers:
        allowed = ", ".join(map(repr, CLIP_TYPES))
        raise ValueError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE {clip.CLIP_TYPE!r}, allowed: {allowed}")
    return clippers[clip.CLIP_TYPE]
