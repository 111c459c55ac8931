"""Optimiser and learning rate. The rate is a pure function of the step."""

import math
from typing import Any

import torch

from train.config import OptimConfig


def build_optimizer(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    """AdamW over a method's parameter groups."""
    return torch.optim.AdamW(
        groups,
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        foreach=False,  # one tensor after the other: the same result for any grouping
    )


def rate_at(config: OptimConfig, step: int, total: int) -> float:
    """Learning rate of step `step` (0-based) of `total`."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return config.lr * warm
    return config.lr * warm * 0.5 * (1 + math.cos(math.pi * min(step / max(total, 1), 1.0)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Puts the rate into every group, times the group's `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
