"""What is learned: the picture itself, from a mixture of it with noise.

x_t = (1 − t)·x0 + t·ε at a time t from 0, clean, to 1, noise; the network predicts x0 (JiT: Li & He
2025, arXiv 2511.13720, section 3, whose time runs the other way).
"""

from collections.abc import Sequence
from typing import Literal

import torch

from train.parts.noise import normal, uniform

LEAST_TIME = 0.05
"""Below it, velocities are taken as if it were this late: they divide by t."""
_MEAN, _DEVIATION = 0.8, 0.8


def draw_times(
    generators: Sequence[torch.Generator], law: Literal["logit_normal", "uniform"],
    device: torch.device,
) -> torch.Tensor:  # fmt: skip
    """float [N] in (0, 1), one from each sample's generator."""
    if law == "uniform":
        return uniform(generators, device)
    drawn = normal(generators, (), device)
    return torch.sigmoid(_MEAN + _DEVIATION * drawn)


def mixed(pictures: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """x_t, [N,3,H,W]. noise: of any deviation; t: [N]."""
    t = t[:, None, None, None]
    return (1 - t) * pictures + t * noise


def picture_loss(
    found: torch.Tensor, pictures: torch.Tensor, t: torch.Tensor, loss: Literal["x0", "velocity"]
) -> torch.Tensor:
    """Mean squared error of each picture, [N]; of its velocity (x_t − x0)/max(t, 0.05) otherwise,
    which is that over max(t, 0.05)²."""
    error = (found.float() - pictures.float()).square().flatten(1).mean(1)
    return error if loss == "x0" else error / t.clamp(min=LEAST_TIME).square()
