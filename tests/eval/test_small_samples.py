"""What a Fréchet distance says of few pictures."""

import numpy as np
import pytest

from eval.frechet import frechet_distance
from eval.moments import Moments
from eval.small_samples import distance_of_samples, drawn, expected_distance, variances


@pytest.mark.parametrize(("m", "n"), [(5, 9), (30, 12), (40, 70)])
def test_the_short_way_equals_the_covariances(m: int, n: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (m, 40)), rng.normal(0.3, 2, (n, 40))
    expected = frechet_distance(Moments.of(a), Moments.of(b))
    assert distance_of_samples(a, b) == pytest.approx(expected, rel=1e-6)
    assert distance_of_samples(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [12, 200])
def test_variances_are_the_eigenvalues_of_the_covariance(count: int) -> None:
    features = np.random.default_rng(1).normal(0, 1, (count, 30)) * np.linspace(0.1, 3, 30)
    expected = np.linalg.eigvalsh(np.cov(features.T))
    found = variances(features)
    np.testing.assert_allclose(found, expected[-len(found) :], rtol=1e-6)
    assert len(found) == min(count - 1, 30)


def test_the_expectation_is_that_of_real_samples_of_one_distribution() -> None:
    """Sets drawn from a rotated normal distribution, away from 0: their mean distance."""
    rng = np.random.default_rng(2)
    spread = np.exp(-np.arange(64) / 8)
    turn = np.linalg.qr(rng.normal(0, 1, (64, 64)))[0]

    def sample(count: int) -> np.ndarray:
        return (rng.normal(0, 1, (count, 64)) * spread**0.5) @ turn + 5

    for m, n in ((25, 10), (100, 100), (600, 10), (66, 300)):
        seen = np.mean([distance_of_samples(sample(m), sample(n)) for _ in range(40)])
        assert expected_distance(spread, m, n) == pytest.approx(seen, rel=0.15)


def test_moments_are_drawn_as_samples_would_have_them() -> None:
    """Entries of the scatter: means and deviations of Wishart's distribution, and of the mean."""
    rng = np.random.default_rng(3)
    scales, count = np.array([0.5, 1.0, 2.0]), 9
    found = [drawn(rng, count, scales) for _ in range(6000)]
    scatters = np.stack([one.scatter for one in found]) / (count - 1)
    expected = np.diag(scales**2)
    np.testing.assert_allclose(scatters.mean(0), expected, atol=0.06)
    spread = np.sqrt((np.outer(scales, scales) ** 2 + expected**2) / (count - 1))
    np.testing.assert_allclose(scatters.std(0), spread, rtol=0.05)
    means = np.stack([one.mean for one in found])
    np.testing.assert_allclose(means.std(0), scales / count**0.5, rtol=0.05)


def test_the_expectation_falls_with_the_number_of_pictures() -> None:
    spread = np.ones(32)
    found = [expected_distance(spread, n, n) for n in (10, 50, 500)]
    assert found[0] > found[1] > found[2] > 0
