"""Solvers of dx/dt = v(x, t), as plain loops over a callable, in either direction of time."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Solver = Literal["euler", "midpoint", "heun", "rk4", "fireflow"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)


def times_between(start: float, stop: float, steps: int) -> list[float]:
    """steps + 1 times in equal steps; stop below start runs backwards."""
    return [float(t) for t in torch.linspace(start, stop, steps + 1, dtype=torch.float64)]


def evaluations(solver: Solver, steps: int) -> int:
    """How often the velocity is asked for in so many steps."""
    per_step = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "fireflow": 1}[solver]
    return per_step * steps + (solver == "fireflow")


def steps_for(solver: Solver, budget: int) -> int:
    """The most steps that ask for the velocity `budget` times at most; at least 1."""
    steps = max(1, budget)
    while steps > 1 and evaluations(solver, steps) > budget:
        steps -= 1
    return steps


def solve(
    velocity: Velocity, x: torch.Tensor, times: Sequence[float], solver: Solver = "euler"
) -> torch.Tensor:
    """Carries x from the first time to the last.

    `euler` is of order 1; explicit `midpoint` and `heun` of order 2; `rk4` of order 4 (Hairer,
    Nørsett & Wanner 1993, II.1). `fireflow` (Deng et al. 2024, arXiv 2412.07517, eq. 9) is the
    midpoint rule that goes half a step with the midpoint velocity of the step before: order 2 for
    one evaluation a step, once it has begun with two.

    Args:
        velocity: (x [N,...], t [N]) to dx/dt [N,...].
        x: the state at the first time.
        times: at least two, rising or falling.
    """
    before: torch.Tensor | None = None  # fireflow's midpoint velocity

    def at(state: torch.Tensor, t: float) -> torch.Tensor:
        return velocity(state, torch.full((len(x),), t, dtype=x.dtype, device=x.device))

    for now, then in pairwise(times):
        h, middle = then - now, (now + then) / 2
        if solver == "euler":
            x = x + h * at(x, now)
        elif solver == "midpoint":
            x = x + h * at(x + h / 2 * at(x, now), middle)
        elif solver == "heun":
            first = at(x, now)
            x = x + h / 2 * (first + at(x + h * first, then))
        elif solver == "rk4":
            a = at(x, now)
            b = at(x + h / 2 * a, middle)
            c = at(x + h / 2 * b, middle)
            x = x + h / 6 * (a + 2 * b + 2 * c + at(x + h * c, then))
        else:
            before = at(x + h / 2 * (at(x, now) if before is None else before), middle)
            x = x + h * before
    return x
