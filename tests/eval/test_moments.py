"""Moments of a stream: those of all samples at once, whatever the parts."""

import numpy as np
import pytest

from eval.moments import Moments

FAR = np.random.default_rng(0).normal(1000, 0.01, (500, 6))


@pytest.mark.parametrize("parts", [[1] * 500, [499, 1], [3, 97, 400]])
def test_parts_make_no_difference(parts: list[int]) -> None:
    """Features a hundred thousand deviations from 0, where Σx² − (Σx)²/n has no digit left."""
    total = Moments.none(6)
    for part in np.split(FAR, np.cumsum(parts)[:-1]):
        total += Moments.of(part)
    assert total.count == 500
    np.testing.assert_allclose(total.mean, FAR.mean(0), rtol=1e-13)
    np.testing.assert_allclose(total.covariance, np.cov(FAR, rowvar=False), rtol=1e-9, atol=1e-12)


def test_the_order_makes_no_difference() -> None:
    a, b, c = (Moments.of(part) for part in np.split(FAR, [100, 350]))
    one, other = (a + b) + c, c + (b + a)
    np.testing.assert_allclose(one.scatter, other.scatter, rtol=1e-9, atol=1e-12)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="of 1 samples"):
        _ = Moments.of(FAR[:1]).covariance
