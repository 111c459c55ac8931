"""Intervals cover what they claim on clustered scores, and shuffling never keeps the own style."""

import numpy as np
import pytest

from eval.statistics import (
    holm,
    interval_of,
    p_value,
    pigeonhole_interval,
    resampled_means,
    shuffled,
)


def grid(rng: np.random.Generator, style_sd: float) -> tuple[np.ndarray, list[str], list[str]]:
    """Scores on a 12 × 12 grid: a style effect plus noise; the true mean is 0."""
    effects = rng.normal(0, style_sd, 12)
    names = [(f"c{i}", f"s{j}") for i in range(12) for j in range(12)]
    values = np.array([effects[j] for _ in range(12) for j in range(12)])
    return values + rng.normal(0, 1, 144), [c for c, _ in names], [s for _, s in names]


def test_covers_the_mean_although_pictures_share_styles() -> None:
    rng = np.random.default_rng(0)
    hits = plain_hits = 0
    trials = 60
    for _ in range(trials):
        values, contents, styles = grid(rng, 1.0)
        low, high = pigeonhole_interval(values, contents, styles)
        hits += low <= 0 <= high
        half = 1.96 * values.std() / 12  # what one gets when pictures pass for independent
        plain_hits += abs(values.mean()) <= half
    assert hits / trials >= 0.85
    assert plain_hits / trials <= 0.75


def test_repeatable_and_around_the_mean() -> None:
    values, contents, styles = grid(np.random.default_rng(1), 0.5)
    first = pigeonhole_interval(values, contents, styles)
    assert first == pigeonhole_interval(values, contents, styles)
    assert first[0] < values.mean() < first[1]


def test_constant_scores_have_no_width() -> None:
    assert pigeonhole_interval(np.full(4, 0.3), list("aabb"), list("xyxy")) == pytest.approx(
        (0.3, 0.3)
    )


def test_shuffled_style_is_another_style() -> None:
    styles = ["a", "a", "b", "c", "a", "b"]
    other = shuffled(styles)
    assert all(styles[i] != styles[j] for i, j in enumerate(other))
    assert (other == shuffled(styles)).all()
    assert shuffled(["a", "a"]).tolist() == [0, 1]


def test_missing_scores_are_left_out_of_means() -> None:
    values, contents, styles = grid(np.random.default_rng(2), 0.5)
    table = np.stack([values, np.where(np.arange(144) % 3 == 0, np.nan, values)], axis=1)
    table = np.concatenate([table, np.full((144, 1), np.nan)], axis=1)
    means = resampled_means(table, contents, styles)
    alone = pigeonhole_interval(values, contents, styles)  # another product of matrices
    assert interval_of(means[:, 0]) == pytest.approx(alone, rel=1e-12)
    low, high = interval_of(means[:, 1])
    assert low < np.nanmean(table[:, 1]) < high
    assert np.isnan(interval_of(means[:, 2])).all()


def test_intervals_do_not_depend_on_how_many_resamples_are_held(monkeypatch) -> None:
    values, contents, styles = grid(np.random.default_rng(3), 0.5)
    whole = resampled_means(values[:, None], contents, styles)
    monkeypatch.setattr("eval.statistics._MOST_WEIGHTS", 1000)
    np.testing.assert_allclose(resampled_means(values[:, None], contents, styles), whole, rtol=1e-9)


def test_holm_on_a_worked_example() -> None:
    """Holm 1979: 0.01, 0.04, 0.03, 0.005 times 3, 1, 2, 4, each at least the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_p_values_are_small_where_resamples_agree() -> None:
    rng = np.random.default_rng(4)
    assert p_value(rng.normal(5, 1, 2000)) == pytest.approx(2 / 2001)
    assert p_value(rng.normal(0, 1, 2000)) > 0.8
    assert 0.02 < p_value(rng.normal(1.96, 1, 2000)) < 0.09


def test_shuffling_many_is_fair_and_never_keeps_the_own_style() -> None:
    styles = np.random.default_rng(5).integers(0, 7, 3000)
    other = shuffled(styles)
    assert (styles != styles[other]).all()
    assert len(set(other.tolist())) > 1700  # of 3000 draws, about 1 − 1/e are different
