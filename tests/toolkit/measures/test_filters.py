"""The fast filters against scipy's."""

import numpy as np
import pytest
from scipy import ndimage

from toolkit.measures.filters import gaussian, gradient_magnitude, median_of_nine, shrink

RNG = np.random.Generator(np.random.Philox(7))
PLANE = RNG.integers(0, 256, (61, 83)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.8, 1, 2.5])
def test_gaussian_is_scipys(sigma: float) -> None:
    wanted = ndimage.gaussian_filter(PLANE.astype(np.float64), sigma, mode="nearest")
    np.testing.assert_allclose(gaussian(PLANE, sigma), wanted, atol=1e-3)


def test_gradients_are_scipys_sobel() -> None:
    plane = PLANE.astype(np.float64)
    across, down = (ndimage.sobel(plane, axis, mode="nearest") for axis in (1, 0))
    np.testing.assert_allclose(gradient_magnitude(PLANE), np.hypot(across, down) / 8, atol=1e-3)


def test_a_ramp_has_its_slope() -> None:
    ramp = np.tile(np.arange(20, dtype=np.float32) * 3, (10, 1))
    np.testing.assert_allclose(gradient_magnitude(ramp)[:, 1:-1], 3, atol=1e-5)


def test_the_median_is_scipys() -> None:
    plane = RNG.integers(0, 256, (40, 57), dtype=np.uint8)
    np.testing.assert_array_equal(
        median_of_nine(plane), ndimage.median_filter(plane, size=3, mode="nearest")
    )


def test_shrinking_takes_means_and_leaves_the_rest_out() -> None:
    plane = np.arange(7 * 9, dtype=np.float32).reshape(7, 9)
    found = shrink(plane, 3)
    assert found.shape == (2, 3)
    assert found[1, 2] == plane[3:6, 6:9].mean()
