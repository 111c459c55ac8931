"""From noise to a picture, by Euler's method along the velocities of predicted pictures."""

from collections.abc import Callable
from typing import Literal

import torch

from train.methods.pixel_sdxl.objective import LEAST_TIME

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t [N,3,H,W], t [N]) to the predicted x0, [N,3,H,W]."""


def times_of(
    steps: int, schedule: Literal["linear", "flow_shift"], flow_shift: float, first: float = 1.0
) -> torch.Tensor:
    """float64 [steps + 1], from `first` to 0. Shifted, s is taken to k·s/(1 + (k − 1)·s) (Esser et
    al. 2024, arXiv 2403.03206, equation 23)."""
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    if schedule == "flow_shift":
        times = flow_shift * times / (1 + (flow_shift - 1) * times)
    return times * first


def guided(with_text: torch.Tensor, without: torch.Tensor, guidance: float) -> torch.Tensor:
    """Classifier-free guidance of predicted pictures: u + w·(c − u)."""
    return without + guidance * (with_text - without)


def denoise(predict: Predict, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """The picture at the last of the times, 0.

    Args:
        predict: the network, guidance and all.
        x: what there is at the first of the times, [N,3,H,W].
        times: falling, the last is 0.
    """
    for t, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        picture = predict(x, torch.full((len(x),), t, device=x.device))
        noise = (x - (1 - t) * picture) / max(t, LEAST_TIME)
        x = (1 - after) * picture + after * noise
    return x
