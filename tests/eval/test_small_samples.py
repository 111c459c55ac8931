"""What a Fréchet distance says of few pictures."""

import numpy as np
import pytest

from eval.frechet import frechet_distance
from eval.moments import Moments
from eval.small_samples import distance_of_samples, expected_distance, variances


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

    for m, n in ((25, 10), (100, 100)):
        seen = np.mean([distance_of_samples(sample(m), sample(n)) for _ in range(40)])
        assert expected_distance(spread, m, n) == pytest.approx(seen, rel=0.15)


def test_the_expectation_falls_with_the_number_of_pictures() -> None:
    spread = np.ones(32)
    found = [expected_distance(spread, n, n) for n in (10, 50, 500)]
    assert found[0] > found[1] > found[2] > 0
