"""Translation along a known flow: Gaussians of two styles, whose velocity has a closed form."""

import dataclasses

import pytest
import torch

from toolkit.core.errors import UserError
from train.methods.ot_cfm.config import Stylize
from train.methods.ot_cfm.translate import BUDGETS, Translator
from train.parts.samplers import SOLVERS, evaluations

MEANS, STDS = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.5, 1.5, 1.0])
NONE = 2


def velocity(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Of the independent coupling of N(0, 1) with N(m, s²) of each label; see test_samplers.py."""
    m, s, t = (v.reshape(-1, 1, 1, 1).to(x) for v in (MEANS[label], STDS[label], t))
    variance = (1 - t) ** 2 + (t * s) ** 2
    return m + (t * s**2 - (1 - t)) / variance * (x - t * m)


TRANSLATOR = Translator(velocity, NONE)
FINE = Stylize(steps=100, solver="rk4", guidance=1)


def data(label: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(label)
    x = MEANS[label] + STDS[label] * torch.randn(count, 1, 2, 2, generator=generator)
    return x.double(), torch.full((count,), label)


def test_inversion_standardises_and_translation_maps_quantile_to_quantile() -> None:
    x, source = data(0)
    noise = TRANSLATOR.invert(x, source, FINE)
    torch.testing.assert_close(noise, (x - 1) / 0.5, rtol=0, atol=1e-6)
    made = TRANSLATOR.generate(noise, torch.full_like(source, 1), FINE)
    torch.testing.assert_close(made, -2 + 1.5 * (x - 1) / 0.5, rtol=0, atol=1e-5)


def test_inversion_is_never_guided_and_generation_is() -> None:
    x, source = data(0)
    guided = dataclasses.replace(FINE, guidance=3)
    plain, same = (TRANSLATOR.invert(x, source, how) for how in (FINE, guided))
    assert torch.equal(plain, same)
    without = TRANSLATOR.generate(plain, source, FINE)
    with_guidance = TRANSLATOR.generate(plain, source, guided)
    assert with_guidance.mean() > without.mean() + 0.3  # past the mean of 1, away from that of all
    off = dataclasses.replace(guided, guidance_interval=(0.0, 0.0))
    late = TRANSLATOR.generate(plain, source, dataclasses.replace(off, guidance_interval=(0.6, 1)))
    assert without.mean() < late.mean() < with_guidance.mean()


def test_a_part_of_the_way_changes_a_part() -> None:
    x, source = data(0)
    target, moved = torch.full_like(source, 1), []
    for depth in (0.2, 0.6, 1.0):
        how = dataclasses.replace(FINE, depth=depth)
        made = TRANSLATOR.generate(TRANSLATOR.invert(x, source, how), target, how)
        moved.append(float((made - x).abs().mean()))
    assert moved[0] < moved[1] < moved[2]


def test_noise_is_brought_to_the_normal_distribution_as_far_as_asked() -> None:
    x, source = data(0)
    target = torch.full_like(source, 1)
    skewed = TRANSLATOR.invert(x, source, FINE) * 3 + 2
    means, deviations = [], []  # of the noise that generation began with
    for part in (0.0, 0.5, 1.0):
        made = TRANSLATOR.generate(skewed, target, dataclasses.replace(FINE, noise_adain=part))
        back = (made - MEANS[1]) / STDS[1]
        means.append(back.mean((2, 3)))
        deviations.append(back.std((2, 3)))
    torch.testing.assert_close(means[2], torch.zeros_like(means[2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(deviations[2], torch.ones_like(means[2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(means[1], means[0] / 2, rtol=0, atol=1e-5)
    torch.testing.assert_close(deviations[1], (deviations[0] + 1) / 2, rtol=0, atol=1e-5)
    how = dataclasses.replace(FINE, noise_adain=1.0)  # a round trip is without it
    assert float(TRANSLATOR.round_trip(x, source, how).max()) < 1e-5


def test_clamping_bounds_what_the_network_sees() -> None:
    seen = []

    def spy(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        seen.append(float(x.abs().max()))
        return velocity(x, t, label)

    x, source = data(0)
    Translator(spy, NONE).generate(x * 9, source, dataclasses.replace(FINE, clamp=2.5))
    assert max(seen) <= 2.5


def test_the_cheapest_solver_that_keeps_the_tolerance_is_found() -> None:
    x, source = data(0)
    costs = []
    for tolerance in (1e-1, 1e-3, 1e-5):
        how, error = TRANSLATOR.cheapest(x, source, Stylize(tolerance=tolerance))
        assert error <= tolerance
        assert float(TRANSLATOR.round_trip(x, source, how).mean()) == pytest.approx(error)
        costs.append(evaluations(how.solver, how.steps))
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]
    cheaper = TRANSLATOR.settings_within(how, [b for b in BUDGETS if b < costs[1]])
    assert {one.solver for one in cheaper} == set(SOLVERS)
    for one in cheaper:
        assert float(TRANSLATOR.round_trip(x, source, one).mean()) > 1e-3
    how, error = TRANSLATOR.cheapest(x, source, Stylize(tolerance=1e-30))
    assert error > 1e-30
    every = TRANSLATOR.settings_within(how, BUDGETS)
    assert error == min(float(TRANSLATOR.round_trip(x, source, one).mean()) for one in every)


def test_errors_of_a_round_trip_fall_with_the_evaluations() -> None:
    x, source = data(1)
    for solver in SOLVERS:
        errors = [
            float(TRANSLATOR.round_trip(x, source, how).mean())
            for how in TRANSLATOR.settings_within(Stylize(), (8, 40, 160))
            if how.solver == solver
        ]
        assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0: takes 1 or more"),
        ({"guidance_interval": (0.5,)}, "--guidance_interval: takes two times from 0 to 1"),
        ({"guidance_interval": (0.9, 0.1)}, "--guidance_interval: takes two times"),
        ({"depth": 0.0}, "--depth=0.0: takes a number above 0"),
        ({"noise_adain": 1.5}, "--noise_adain=1.5: takes a number from 0 to 1"),
        ({"noise_adain": 0.5, "depth": 0.5}, "--noise_adain changes noise, which --depth below 1"),
        ({"tolerance": -1.0}, "--tolerance=-1.0: takes 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Stylize(**settings)  # type: ignore[arg-type]
