"""Intervals cover what they claim on clustered scores, and shuffling never keeps the own style."""

import numpy as np
import pytest

from eval.statistics import pigeonhole_interval, shuffled


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
