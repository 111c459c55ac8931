"""Paired comparisons: real differences are found, and differences by chance are called noise."""

import numpy as np
import pytest

from eval.paired import differences
from toolkit.core.errors import UserError

METRICS, BETTER = ["lpips", "csd"], {"lpips": "lower", "csd": "higher"}


def cells(rng: np.random.Generator, shift: float, style_sd: float = 0.0) -> dict:
    """20 contents × 12 styles; what is common to a pair is large, the noise of a model small.
    style_sd: how differently a model does on each style."""
    common = np.random.default_rng(99).normal(0, 1, (20, 12, 1))
    own = rng.normal(0, style_sd, (1, 12, 1)) + rng.normal(0, 0.1, (20, 12, 2)) + shift
    table = common + own
    return {(f"c{i}", f"s{j}", ""): table[i, j] for i in range(20) for j in range(12)}


def test_a_shift_smaller_than_the_spread_of_pairs_is_found() -> None:
    """0.05 beside a spread of 1: only pairs can tell."""
    found = differences(
        cells(np.random.default_rng(0), 0), cells(np.random.default_rng(1), 0.05), METRICS, BETTER
    )
    by_name = {one.metric: one for one in found}
    assert by_name["lpips"].verdict == "worse"
    assert by_name["csd"].verdict == "better"
    for one in found:
        assert one.low < 0.05 < one.high
        assert one.difference == pytest.approx(one.second - one.first)
        assert one.pairs == 240


def test_differences_by_chance_are_noise_although_pairs_are_many() -> None:
    """Models that differ by style at random, and not on the whole: of 40 comparisons a few at most
    may be called real, where a plain t-test calls most so."""
    called = plain = 0
    for seed in range(20):
        a = cells(np.random.default_rng(1000 + seed), 0, 0.3)
        b = cells(np.random.default_rng(2000 + seed), 0, 0.3)
        found = differences(a, b, METRICS, BETTER)
        called += sum(one.verdict != "inside noise" for one in found)
        apart = np.stack([b[cell] - a[cell] for cell in a])
        error = apart.std(0) / len(apart) ** 0.5
        plain += int((np.abs(apart.mean(0)) > 1.96 * error).sum())
    assert called <= 6
    assert plain >= 20


def test_equal_pictures_do_not_differ() -> None:
    a = cells(np.random.default_rng(0), 0)
    for one in differences(a, a, METRICS, BETTER):
        assert (one.difference, one.p, one.verdict) == (0, 1, "inside noise")


def test_swapping_the_two_turns_the_sign() -> None:
    a, b = cells(np.random.default_rng(0), 0), cells(np.random.default_rng(1), 0.1)
    there, back = differences(a, b, METRICS, BETTER), differences(b, a, METRICS, BETTER)
    for one, other in zip(there, back, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert one.low == pytest.approx(-other.high)
        assert {one.verdict, other.verdict} == {"better", "worse"}


def test_only_pairs_that_both_have_count() -> None:
    a, b = cells(np.random.default_rng(0), 0), cells(np.random.default_rng(1), 0)
    b = {cell: value for cell, value in b.items() if cell[0] < "c15"}
    b["c1", "s1", ""][0] = np.nan
    found = {one.metric: one.pairs for one in differences(a, b, METRICS, BETTER)}
    shared = sum(cell in a for cell in b)
    assert found == {"lpips": shared - 1, "csd": shared}
    with pytest.raises(UserError, match="no pair"):
        differences(a, {("x", "y", ""): np.zeros(2)}, METRICS, BETTER)
