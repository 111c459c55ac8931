"""Solvers of dx/dt = v(x, t), as plain loops over a callable."""

import itertools
from collections.abc import Callable

import torch

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def euler(velocity: Velocity, x: torch.Tensor, steps: int, start: float = 0.0) -> torch.Tensor:
    """Euler's method from t = start to t = 1 in equal steps; one evaluation a step.

    Args:
        velocity: (x [N,...], t [N]) to dx/dt [N,...].
        x: the state at `start`.
        steps: at least 1.
        start: in [0, 1).
    """
    times = torch.linspace(start, 1, steps + 1, dtype=torch.float64).tolist()
    for now, then in itertools.pairwise(times):
        t = torch.full((x.shape[0],), now, dtype=x.dtype, device=x.device)
        x = x + (then - now) * velocity(x, t)
    return x
