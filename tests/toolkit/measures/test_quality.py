"""What quality control measures, on pictures whose answer is known."""

import numpy as np
import pytest
from scipy import ndimage

from tests.conftest import picture
from toolkit.measures.edges import edge_correlation
from toolkit.measures.quality import Features, compare, features

SIZE = 256


def smooth(seed: int) -> np.ndarray:
    return picture(seed, SIZE, SIZE)


def textured(seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(seed))
    noise = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE, 1)), (2, 2, 0)) * 100
    return np.clip(smooth(seed) + noise, 0, 255).astype(np.uint8)


def test_a_picture_is_like_itself_and_unlike_another() -> None:
    one, other = features(textured(1)), features(textured(2))
    same = compare(one, one, other)
    assert same.structure_fine == pytest.approx(1, abs=1e-4)
    assert same.structure_coarse == pytest.approx(1, abs=1e-4)
    assert same.change == 0
    assert compare(one, other, other).structure_coarse < 0.4
    assert same.leak == pytest.approx(compare(one, other, one).structure_coarse)


def test_fine_structure_is_the_correlation_of_blurred_sobel_magnitudes() -> None:
    a, b = textured(3), np.clip(textured(3) * 0.7 + textured(4) * 0.3, 0, 255).astype(np.uint8)

    def edges(pixels: np.ndarray) -> np.ndarray:
        luma = ndimage.gaussian_filter(pixels @ np.array([0.299, 0.587, 0.114]), 1, mode="nearest")
        size = np.hypot(*(ndimage.sobel(luma, axis, mode="nearest") for axis in (0, 1)))
        found: np.ndarray = ndimage.gaussian_filter(size, 1, mode="nearest")
        return found

    wanted = np.corrcoef(edges(a).ravel(), edges(b).ravel())[0, 1]
    found = compare(features(b), features(a), features(a))
    assert found.structure_fine == pytest.approx(wanted, abs=0.005)
    assert found.structure_coarse == pytest.approx(edge_correlation(a, b, 4.0), abs=0.15)


@pytest.mark.parametrize("sigma", [5.0, 20.0, 45.0])
def test_noise_is_found_in_its_strength(sigma: float) -> None:
    rng = np.random.Generator(np.random.Philox(5))
    grey = np.clip(128 + rng.normal(0, sigma, (SIZE, SIZE, 1)), 0, 255).repeat(3, 2)
    assert features(grey.astype(np.uint8)).noise == pytest.approx(sigma, rel=0.08)


def test_white_noise_has_its_power_where_a_circle_leaves_it() -> None:
    rng = np.random.Generator(np.random.Philox(6))
    grey = rng.integers(0, 256, (SIZE, SIZE, 1), dtype=np.uint8).repeat(3, 2)
    assert features(grey).high_frequency == pytest.approx(1 - np.pi * 0.25**2, abs=0.02)
    assert features(smooth(1)).high_frequency < 0.01


def test_impulses_are_counted() -> None:
    pixels = np.full((SIZE, SIZE, 3), 120, np.uint8)
    pixels[::8, ::8] = 255  # apart, so that each is alone in its neighbourhood
    assert features(pixels).impulses == pytest.approx(1 / 64)


@pytest.mark.parametrize("period", [8, 14, 16])
def test_a_grid_is_found_at_each_period(period: int) -> None:
    pixels = textured(8).copy()
    assert features(pixels).grid < 1.3
    pixels[::period] = np.clip(pixels[::period].astype(int) + 60, 0, 255)
    assert features(pixels).grid > 1.6


def test_a_grid_counts_beside_what_content_and_style_have() -> None:
    pixels = textured(8).copy()
    pixels[::8] = np.clip(pixels[::8].astype(int) + 60, 0, 255)
    gridded, plain = features(pixels), features(textured(8))
    assert compare(gridded, plain, plain).grid == pytest.approx(gridded.grid, rel=0.3)
    assert compare(gridded, gridded, plain).grid == compare(gridded, plain, gridded).grid == 1


def test_change_is_the_mean_difference_of_colours() -> None:
    dark, light = np.full((SIZE, SIZE, 3), 60, np.uint8), np.full((SIZE, SIZE, 3), 60, np.uint8)
    light[:, :, 0] += 51
    found = compare(features(light), features(dark), features(dark))
    assert found.change == pytest.approx(0.2 / 3)


def test_saturated_and_clipped_pixels_are_counted() -> None:
    pixels = np.full((SIZE, SIZE, 3), 128, np.uint8)
    pixels[:64] = (200, 10, 10)  # saturation 0.95, not clipped
    pixels[64:96] = (255, 240, 240)  # clipped, hardly saturated
    pixels[96:112] = (60, 0, 0)  # saturated and clipped, but dark: counts as clipped only
    found = features(pixels)
    assert (found.saturated, found.clipped) == (64 / SIZE, 48 / SIZE)


def test_excess_is_beyond_the_larger_of_content_and_style() -> None:
    plain, loud = np.full((SIZE, SIZE, 3), 128, np.uint8), np.full((SIZE, SIZE, 3), 128, np.uint8)
    loud[:128] = (200, 10, 10)
    f_plain, f_loud = features(plain), features(loud)
    assert compare(f_loud, f_plain, f_plain).saturation_excess == 0.5
    assert compare(f_loud, f_plain, f_loud).saturation_excess == 0
    assert compare(f_loud, f_loud, f_plain).saturation_excess == 0


def test_one_colour_has_no_structure() -> None:
    flat, other = features(np.full((SIZE, SIZE, 3), 90, np.uint8)), features(textured(1))
    found = compare(flat, other, other)
    assert (found.structure_fine, found.structure_coarse) == (0, 0)
    assert (found.contrast, found.deviation, flat.high_frequency) == (0, 0, 0)


def test_other_arrays_are_refused() -> None:
    for bad in (np.zeros((64, 64)), np.zeros((64, 64, 3)), np.zeros((63, 64, 3), np.uint8)):
        with pytest.raises(ValueError, match="expected"):
            features(bad)
    small: Features = features(textured(1)[:128])
    with pytest.raises(ValueError, match="one shape"):
        compare(small, features(textured(1)), small)
