"""Fréchet and kernel distances: closed forms, invariants, and other people's code."""

from typing import Any

import numpy as np
import pytest
from scipy.linalg import sqrtm

from eval.frechet import frechet_distance
from eval.kernel_distance import kernel_distance
from eval.moments import Moments

RNG = np.random.default_rng(7)


def normal(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    return Moments(1001, mean, covariance * 1000)


def test_commuting_covariances_have_a_closed_form() -> None:
    """Σ (√a − √b)² over the shared axes."""
    turn = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    a, b = RNG.uniform(0, 4, (2, 5))
    first, second = (normal(m, turn * v @ turn.T) for m, v in ((np.zeros(5), a), (np.ones(5), b)))
    expected = 5 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


def test_it_is_the_root_of_a_matrix_that_scipy_finds() -> None:
    a, b = (RNG.normal(size=(400, 12)) @ RNG.normal(size=(12, 12)) + k for k in (0, 0.3))
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    apart = a.mean(0) - b.mean(0)
    expected = apart @ apart + np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(expected, rel=1e-8)


def test_both_are_those_of_torch_fidelity_and_torchmetrics(peer: Any) -> None:
    """A stream of features in uneven parts, against each program's own function."""
    a, b = (RNG.normal(size=(n, 64)) @ RNG.normal(size=(64, 64)) + n for n in (900, 901))
    parts = sum((Moments.of(part) for part in np.split(a, [1, 33, 500])), Moments.none(64))
    stats = [{"mu": x.mean(0), "sigma": np.cov(x, rowvar=False)} for x in (a, b)]
    expected = peer("eval", "torch_fidelity.metric_fid").fid_statistics_to_metric(*stats, False)
    found = frechet_distance(parts, Moments.of(b))
    assert found == pytest.approx(expected["frechet_inception_distance"], rel=1e-8)

    import torch

    theirs = peer("eval", "torchmetrics.image.kid")
    x, y = (torch.from_numpy(v) / 100 for v in (a, b[:900]))
    expected = float(theirs.poly_mmd(x, y))
    assert kernel_distance(x.numpy(), y.numpy()) == pytest.approx(expected, rel=1e-8)


def test_of_itself_it_is_nothing_and_both_ways_the_same() -> None:
    """Fewer samples than features, where a root of the product has imaginary parts."""
    a, b = (Moments.of(RNG.normal(size=(20, 64))) for _ in range(2))
    assert frechet_distance(a, a) < 1e-6
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


def test_further_apart_is_more() -> None:
    a = RNG.normal(size=(200, 8))
    found = [frechet_distance(Moments.of(a), Moments.of(a + k)) for k in (0.1, 0.2, 0.4)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(8 * 0.01)


def test_the_kernel_distance_is_that_of_all_pairs() -> None:
    a, b = RNG.normal(size=(7, 3)), RNG.normal(0.5, 1, size=(9, 3))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((np.dot(x, y) / 3 + 1) ** 3)

    within = [
        np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j])
        for s in (a, b)
    ]
    between = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * between, rel=1e-12)


def test_the_kernel_distance_of_one_distribution_is_nothing_on_average() -> None:
    """Which Fréchet's is not: with few samples it is far from 0."""
    kernel, frechet = [], []
    for _ in range(300):
        a, b = RNG.normal(size=(2, 16, 8))
        kernel.append(kernel_distance(a, b))
        frechet.append(frechet_distance(Moments.of(a), Moments.of(b)))
    error = np.std(kernel) / np.sqrt(len(kernel))
    assert abs(np.mean(kernel)) < 4 * error
    assert np.mean(frechet) > 1
