"""Straight flow paths between noise and data. t = 0 is noise, t = 1 is data, everywhere.

Lipman et al. 2023, "Flow Matching for Generative Modeling", and Liu et al. 2023, "Flow Straight
and Fast": x_t = t·x_1 + (1 − t)·x_0 with x_0 ~ N(0, I), velocity x_1 − x_0.
"""

import torch

MIN_REMAINING = 0.05


def interpolate(data: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """x_t of the straight path. data, noise [N,...]; t [N] in [0,1]."""
    t = _expand(t, data)
    return t * data + (1 - t) * noise


def velocity_from_data(predicted: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The velocity that leads from x_t to the predicted data: (x̂_1 − x_t) / (1 − t).

    1 − t is kept above 0.05, as Li & He 2025, "Back to Basics" (arXiv 2511.13720) do.
    """
    return (predicted - x_t) / (1 - _expand(t, x_t)).clamp(min=MIN_REMAINING)


def velocity_loss(
    predicted: torch.Tensor, data: torch.Tensor, t: torch.Tensor, floor: float
) -> torch.Tensor:
    """Per-sample mean squared velocity error of a data prediction: |x̂_1 − x_1|² / (1 − t)².

    Args:
        predicted, data: [N,...].
        t: [N].
        floor: 1 − t is kept above it, so that samples near the data do not dominate.

    Returns:
        [N].
    """
    error = (predicted - data).square().flatten(1).mean(1)
    return error / (1 - t).clamp(min=floor).square()


def _expand(t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return t.reshape(-1, *[1] * (like.ndim - 1))
