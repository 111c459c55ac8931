"""Solvers of ordinary differential equations, against closed forms and against torchdiffeq."""

import itertools
import math
from typing import Any

import pytest
import torch

from train.parts.flow import velocity_from_data
from train.parts.samplers import SOLVERS, Solver, evaluations, solve, steps_for, times_between

ORDER = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "fireflow": 2}


@pytest.fixture
def odeint(peer: Any) -> Any:
    return peer("flow", "torchdiffeq").odeint


def decay(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt = −2x·(1 + t), whose solution is x(0)·exp(−2t − t²)."""
    return -2 * x * (1 + t).reshape(-1, *[1] * (x.ndim - 1))


@pytest.mark.parametrize("solver", SOLVERS)
def test_errors_fall_with_the_order(solver: Solver) -> None:
    one = torch.ones(2, dtype=torch.double)
    errors = [
        abs(solve(decay, one, times_between(0, 1, n), solver)[0].item() - math.exp(-3))
        for n in (16, 32, 64)
    ]
    for before, after in itertools.pairwise(errors):
        assert math.log2(before / after) == pytest.approx(ORDER[solver], abs=0.2)


@pytest.mark.parametrize("solver", SOLVERS)
def test_backwards_undoes_forwards_in_the_limit(solver: Solver) -> None:
    """x′ = rotation in the plane: a round trip of many steps comes back."""

    def turn(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.stack([-x[:, 1], x[:, 0]], dim=1) * (1 + t[:, None])

    start = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=torch.double)
    errors = []
    for steps in (50, 400):
        there = solve(turn, start, times_between(1, 0, steps), solver)
        assert (there - start).abs().max() > 0.5
        errors.append((solve(turn, there, times_between(0, 1, steps), solver) - start).abs().max())
    assert errors[1] < errors[0] / 2 ** (ORDER[solver] * 3) * 1.5
    angle = 1.5  # of the whole turn: the integral of 1 + t
    turned = torch.tensor([math.cos(-angle), math.sin(-angle)], dtype=torch.double)
    one_way = solve(turn, start[:1], times_between(1, 0, 4000), solver)[0]
    torch.testing.assert_close(one_way, turned, rtol=0, atol=2e-3)


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "rk4"])
def test_equals_torchdiffeq(solver: Solver, odeint) -> None:
    """Of the same orders; its fourth-order rule is the 3/8 one, so that only nearly."""
    x = torch.linspace(-1, 1, 6, dtype=torch.double).reshape(2, 3)
    times = times_between(0.1, 0.9, 5)
    theirs = {"heun": "heun2"}.get(solver, solver)
    expected = odeint(
        lambda t, y: decay(y, t.expand(len(y))), x, torch.tensor(times, dtype=torch.double),
        method=theirs,
    )[-1]  # fmt: skip
    atol = 1e-3 if solver == "rk4" else 1e-12
    torch.testing.assert_close(solve(decay, x, times, solver), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("solver", SOLVERS)
def test_evaluations_are_counted_and_budgets_kept(solver: Solver) -> None:
    calls = []

    def counted(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(t[0].item())
        return x

    for steps in (1, 2, 7):
        calls.clear()
        solve(counted, torch.ones(1), times_between(0, 1, steps), solver)
        assert len(calls) == evaluations(solver, steps)
    for budget in (1, 2, 3, 8, 40):
        steps = steps_for(solver, budget)
        assert steps == 1 or evaluations(solver, steps) <= budget < evaluations(solver, steps + 1)


@pytest.mark.parametrize("steps", [1, 7])
def test_euler_lands_on_the_data_of_a_straight_field(steps: int) -> None:
    data, noise = torch.randn(2, 3, 5, dtype=torch.double)
    found = solve(lambda x, t: velocity_from_data(data, x, t), noise, times_between(0, 1, steps))
    assert torch.allclose(found, data)


def test_euler_hands_over_the_right_times() -> None:
    seen: list[float] = []

    def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t[0].item())
        return torch.zeros_like(x)

    solve(field, torch.zeros(2, 1), times_between(0.5, 1, 4))
    assert seen == [0.5, 0.625, 0.75, 0.875]


def test_a_gaussian_is_carried_to_another_as_the_closed_form_says() -> None:
    """Between N(0, 1) and N(m, s²) coupled independently, the straight path x_t = (1 − t)·x_0 +
    t·x_1 has velocity E[x_1 − x_0 | x_t], linear in x_t; its flow maps x_0 to m + s·x_0."""
    m, s = 2.0, 0.5

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        t = t[:, None]
        variance = (1 - t) ** 2 + (t * s) ** 2
        return m + (t * s**2 - (1 - t)) / variance * (x - t * m)

    x = torch.linspace(-3, 3, 7, dtype=torch.double)[:, None]
    found = solve(velocity, x, times_between(0, 1, 200), "rk4")
    torch.testing.assert_close(found, m + s * x, rtol=0, atol=1e-8)
    back = solve(velocity, found, times_between(1, 0, 200), "rk4")
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
