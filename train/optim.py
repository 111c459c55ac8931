"""Optimiser and learning rate. The rate is a pure function of the step."""

import math
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from train.config import OptimConfig


def with_rates(config: OptimConfig, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A method's parameter groups with the rates of the configuration; groups at 0 are frozen and
    left out. Raises UserError for a group that the method does not have, or if nothing is left."""
    rates = _group_rates(config.group_lr)
    names = [group["name"] for group in groups]
    if unknown := sorted(rates.keys() - set(names)):
        raise UserError(
            f"--optim.group_lr: no group {unknown[0]!r}; it has {', '.join(names)}"
            f"{or_nearest(unknown[0], names)}"
        )
    trained = []
    for group in groups:
        scale = group.get("lr_scale", 1.0)
        if group["name"] in rates:
            scale = rates[group["name"]] / config.lr
        if scale == 0:
            for parameter in group["params"]:
                parameter.requires_grad_(False)
        elif group["params"]:
            trained.append(group | {"lr_scale": scale})
    if not trained:
        raise UserError(f"--optim.group_lr={config.group_lr} freezes every weight")
    return trained


def regrouped(trained: list[dict[str, Any]], groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of `with_rates` with a method's parameters as they are now: spread over ranks, they
    are others, and frozen ones are in no group any more."""
    now = {group["name"]: group["params"] for group in groups}
    return [group | {"params": now[group["name"]]} for group in trained]


def build_optimizer(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW over parameter groups. Raises UserError where adamw8bit has no bitsandbytes."""
    betas = (config.beta1, config.beta2)
    if config.optimizer == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError:
            raise UserError(
                "--optim.optimizer=adamw8bit needs the package bitsandbytes: install it, or train "
                "with adamw"
            ) from None
        found: torch.optim.Optimizer = AdamW8bit(
            groups, lr=config.lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay
        )
        return found
    return torch.optim.AdamW(
        groups,
        lr=config.lr,
        betas=betas,
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


def _group_rates(text: str) -> dict[str, float]:
    rates: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = item.partition(":")
        try:
            rates[name.strip()] = float(value)
        except ValueError:
            raise UserError(f"--optim.group_lr={text}: write it as gates:1e-2,vectors:0") from None
        if not 0 <= rates[name.strip()] < math.inf:
            raise UserError(f"--optim.group_lr={text}: rates are 0 or more")
    return rates


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Puts the rate into every group, times the group's `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
