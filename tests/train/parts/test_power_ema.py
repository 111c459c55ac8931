"""Averages of a length chosen afterwards: against integrals, direct tracking and known roots."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from train.parts.power_ema import (
    PowerEma,
    Profile,
    combination,
    decay,
    gamma_of,
    overlap,
    sigma_rel_of,
)


@pytest.mark.parametrize(
    ("sigma_rel", "gamma"), [(0.05, 16.972), (0.10, 6.937), (0.15, 3.558), (0.25, 0.720)]
)
def test_known_exponents(sigma_rel: float, gamma: float) -> None:
    assert gamma_of(sigma_rel) == pytest.approx(gamma, abs=1e-3)
    assert sigma_rel_of(gamma_of(sigma_rel)) == pytest.approx(sigma_rel, rel=1e-9)


@pytest.mark.parametrize("sigma_rel", [0.0, -0.1, 0.29, 1.0])
def test_lengths_that_no_power_has_are_refused(sigma_rel: float) -> None:
    with pytest.raises(ValueError, match=r"above 0 and below 0\.28"):
        gamma_of(sigma_rel)


def share(profile: Profile, tau: float) -> float:
    """Of the weights of time tau in an average, by the definition."""
    inside = 0 < tau <= profile.time
    return (profile.gamma + 1) * tau**profile.gamma / profile.time ** (profile.gamma + 1) * inside


def test_sigma_rel_is_the_deviation_of_the_profile() -> None:
    profile = Profile(gamma_of(0.1), 40.0)
    mean = quad(lambda tau: tau * share(profile, tau), 0, 40)[0]
    square = quad(lambda tau: tau**2 * share(profile, tau), 0, 40)[0]
    assert np.sqrt(square - mean**2) / 40 == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize(("a", "b"), [((7, 30), (3, 50)), ((3, 50), (7, 30)), ((2, 9), (5, 9))])
def test_overlaps_are_integrals_of_products(a: tuple, b: tuple) -> None:
    one, other = Profile(*a), Profile(*b)
    end = min(a[1], b[1])
    expected = quad(lambda tau: share(one, tau) * share(other, tau), 0, end)[0]
    assert overlap(one, other) == pytest.approx(expected, rel=1e-6)


def test_decays_give_the_profile() -> None:
    """The share of step 30 of 100, from the decays, against the profile's integral over a step."""
    gamma = gamma_of(0.1)
    left = 1 - decay(gamma, 30)
    for time in range(31, 101):
        left *= decay(gamma, time)
    expected = quad(lambda tau: share(Profile(gamma, 100), tau), 29, 30)[0]
    assert left == pytest.approx(expected, rel=1e-9)


def walk(steps: int) -> list[torch.Tensor]:
    """Weights that move as in training: towards something, and noisily."""
    generator = torch.Generator().manual_seed(4)
    place, found = torch.zeros(200), []
    goal = torch.randn(200, generator=generator) * 3
    for _ in range(steps):
        place = place + 0.01 * (goal - place) + 0.05 * torch.randn(200, generator=generator)
        found.append(place.clone())
    return found


@pytest.mark.parametrize("sigma_rel", [0.03, 0.07, 0.15, 0.2])
def test_another_length_is_put_together_as_if_it_had_been_tracked(sigma_rel: float) -> None:
    steps = walk(1000)
    tracked, direct = PowerEma((0.05, 0.10)), PowerEma((sigma_rel,))
    basis, copies = [], []
    for time, weights in enumerate(steps, 1):
        tracked.update({"w": weights}, time)
        direct.update({"w": weights}, time)
        if time % 50 == 0:
            basis += [Profile(gamma, time) for gamma in tracked.gammas]
            copies += [average["w"].clone() for average in tracked.averages]
    shares = combination(basis, Profile(gamma_of(sigma_rel), 1000))
    assert shares.sum() == pytest.approx(1)
    found = sum(share * copy for share, copy in zip(shares, copies, strict=True))
    expected = direct.averages[0]["w"]
    error = float((found - expected).norm() / expected.norm())
    assert error < 0.01, error
    last = float((steps[-1] - expected).norm() / expected.norm())
    assert last > 3 * error  # nor is it just the last weights


def test_its_state_goes_on_as_if_nothing_had_happened() -> None:
    steps, straight, stopped = walk(40), PowerEma((0.05, 0.1)), PowerEma((0.05, 0.1))
    for time, weights in enumerate(steps, 1):
        straight.update({"a.b": weights}, time)
    for time, weights in enumerate(steps[:20], 1):
        stopped.update({"a.b": weights}, time)
    again = PowerEma((0.05, 0.1))
    again.load_state(stopped.state(), 20)
    for time, weights in enumerate(steps[20:], 21):
        again.update({"a.b": weights}, time)
    assert straight.state().keys() == again.state().keys()
    assert all(torch.equal(straight.state()[key], again.state()[key]) for key in again.state())


def test_rarer_updates_stay_near() -> None:
    steps, each, tenth = walk(1000), PowerEma((0.1,)), PowerEma((0.1,))
    for time, weights in enumerate(steps, 1):
        each.update({"w": weights}, time)
        if time % 10 == 0:
            tenth.update({"w": weights}, time)
    a, b = each.averages[0]["w"], tenth.averages[0]["w"]
    assert float((a - b).norm() / a.norm()) < 0.02
