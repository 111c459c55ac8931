"""Edge correlation: invariants that define it, and an independent computation."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

from toolkit.measures.edges import (
    SIGMAS_PX,
    edge_correlation,
    luma,
    two_scale_edge_similarity,
)


@pytest.fixture
def photograph(make_picture: Callable[..., np.ndarray]) -> np.ndarray:
    """Smooth areas with a few hard edges, values well inside 0..255."""
    picture = make_picture(3, 96, 80) // 5 + 60
    picture[20:50, 30:70] += 30
    picture[60:70, 10:40] -= 25
    return picture


def gradient_by_convolution(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gradient magnitude with explicit two-dimensional kernels, of width 4σ, borders repeated."""
    grey = picture.astype(float) @ np.array([299, 587, 114]) / 1000
    radius = int(4 * sigma + 0.5)
    x = np.arange(-radius, radius + 1)
    bell = np.exp(-(x**2) / (2 * sigma**2))
    bell /= bell.sum()
    slope = -x / sigma**2 * bell
    padded = np.pad(grey, radius, mode="edge")
    across = convolve2d(padded, np.outer(bell, slope), mode="valid")
    down = convolve2d(padded, np.outer(slope, bell), mode="valid")
    return np.hypot(across, down)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_it_is_pearsons_correlation_of_explicit_gradients(
    sigma: float, photograph: np.ndarray, make_picture: Callable[..., np.ndarray]
) -> None:
    other = (photograph // 2 + make_picture(9, 96, 80) // 4).astype(np.uint8)
    a, b = (gradient_by_convolution(p, sigma).ravel() for p in (photograph, other))
    expected = np.corrcoef(a, b)[0, 1]
    assert edge_correlation(photograph, other, sigma) == pytest.approx(expected, abs=1e-6)
    assert 0.05 < expected < 0.98


@pytest.mark.parametrize("sigma", SIGMAS_PX)
def test_a_picture_agrees_with_itself_and_its_negative(
    sigma: float, photograph: np.ndarray
) -> None:
    assert edge_correlation(photograph, photograph, sigma) == pytest.approx(1)
    assert edge_correlation(photograph, 255 - photograph, sigma) == pytest.approx(1)


@pytest.mark.parametrize("sigma", SIGMAS_PX)
def test_brightness_and_contrast_do_not_matter(sigma: float, photograph: np.ndarray) -> None:
    doubled = (photograph.astype(int) * 2 - 60).clip(0, 255)
    assert doubled.min() > 0
    assert doubled.max() < 255
    assert edge_correlation(photograph, doubled.astype(np.uint8), sigma) == pytest.approx(1)
    assert edge_correlation(photograph, photograph + 40, sigma) == pytest.approx(1)


def test_it_is_symmetric_and_bounded(
    photograph: np.ndarray, make_picture: Callable[..., np.ndarray]
) -> None:
    for seed in range(10):
        other = make_picture(seed, 96, 80)
        for sigma in SIGMAS_PX:
            value = edge_correlation(photograph, other, sigma)
            assert value == pytest.approx(edge_correlation(other, photograph, sigma))
            assert -1 <= value <= 1


def test_it_falls_as_the_edges_move_apart(photograph: np.ndarray) -> None:
    shifted = [edge_correlation(photograph, np.roll(photograph, s, axis=1), 1.0) for s in range(6)]
    assert all(a > b + 0.02 for a, b in itertools.pairwise(shifted))
    # The coarse scale forgives a shift that the fine scale does not.
    moved = np.roll(photograph, 3, axis=1)
    assert edge_correlation(photograph, moved, 4.0) > edge_correlation(photograph, moved, 1.0) + 0.1


def test_it_ranks_damage_as_structural_similarity_does(photograph: np.ndarray) -> None:
    rng = np.random.Generator(np.random.Philox(6))
    noise = rng.normal(size=photograph.shape)
    damaged = [(photograph + k * noise).clip(0, 255).astype(np.uint8) for k in (2, 6, 15, 40)]
    ours = [two_scale_edge_similarity(photograph, p) for p in damaged]
    theirs = [structural_similarity(photograph, p, channel_axis=2) for p in damaged]
    assert ours == sorted(ours, reverse=True)
    assert theirs == sorted(theirs, reverse=True)


def test_a_plain_picture_has_no_edges(photograph: np.ndarray) -> None:
    plain = np.full_like(photograph, 90)
    for sigma in SIGMAS_PX:
        assert edge_correlation(photograph, plain, sigma) == 0.0
        assert edge_correlation(plain, plain, sigma) == 0.0


def test_two_scales_are_averaged(photograph: np.ndarray) -> None:
    other = np.roll(photograph, 2, axis=0)
    parts = [edge_correlation(photograph, other, sigma) for sigma in (1.0, 4.0)]
    assert two_scale_edge_similarity(photograph, other) == pytest.approx(sum(parts) / 2)


def test_luma_is_rec_601() -> None:
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(luma(primaries)[0], [76.245, 149.685, 29.07, 255.0])
