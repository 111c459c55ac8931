"""Colour histograms and their affinity against numpy's own, brute force and closed forms."""

import numpy as np
import pytest
from PIL import Image, ImageStat

from toolkit.measures.histograms import colour_histogram, colour_statistics, histogram_affinity


@pytest.fixture
def noise() -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(1))
    return rng.integers(0, 256, size=(40, 30, 3), dtype=np.uint8)


def test_the_histogram_is_numpys(noise: np.ndarray) -> None:
    edges = [np.arange(0, 257, 32)] * 3
    counts, _ = np.histogramdd(noise.reshape(-1, 3).astype(float), bins=edges)
    np.testing.assert_allclose(colour_histogram(noise), counts.ravel() / counts.sum(), atol=1e-15)


def test_a_small_picture_counted_by_hand() -> None:
    picture = np.array([[[0, 0, 0], [31, 31, 31]], [[0, 0, 32], [255, 255, 255]]], np.uint8)
    expected = np.zeros((8, 8, 8))
    expected[0, 0, 0], expected[0, 0, 1], expected[7, 7, 7] = 2 / 4, 1 / 4, 1 / 4
    np.testing.assert_array_equal(colour_histogram(picture), expected.ravel())


def test_it_sums_to_one_and_ignores_where_pixels_stand(noise: np.ndarray) -> None:
    histogram = colour_histogram(noise)
    assert histogram.shape == (512,)
    assert histogram.sum() == pytest.approx(1)
    np.testing.assert_array_equal(histogram, colour_histogram(noise[::-1, ::-1]))
    np.testing.assert_array_equal(histogram, colour_histogram(noise.transpose(1, 0, 2)))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_every_channel_counts_by_itself(channel: int) -> None:
    """Pictures that differ in one channel only are told apart, blue included."""
    one = np.full((8, 8, 3), 100, np.uint8)
    other = one.copy()
    other[..., channel] = 200
    assert histogram_affinity(colour_histogram(one), colour_histogram(other)) == 0.0


def test_equal_disjoint_and_symmetric(noise: np.ndarray) -> None:
    dark, light = colour_histogram(noise // 4), colour_histogram(192 + noise // 4)
    assert histogram_affinity(dark, dark) == pytest.approx(1, abs=1e-12)
    assert histogram_affinity(dark, dark) <= 1
    assert histogram_affinity(dark, light) == 0.0
    whole = colour_histogram(noise)
    assert histogram_affinity(whole, dark) == histogram_affinity(dark, whole)
    assert 0 < histogram_affinity(whole, dark) < 1


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_affinity_of_two_colours_is_the_closed_form(share: float) -> None:
    """Half black half white against `share` black: √(½·p) + √(½·(1-p))."""
    half, other = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8)
    half[:8] = 255
    other[int(16 * share) :] = 255
    expected = np.sqrt(0.5 * share) + np.sqrt(0.5 * (1 - share))
    got = histogram_affinity(colour_histogram(half), colour_histogram(other))
    assert got == pytest.approx(expected, abs=1e-12)


def test_hellinger_distances_obey_the_triangle_inequality() -> None:
    rng = np.random.Generator(np.random.Philox(2))
    h = rng.random((12, 512)) ** 6
    h /= h.sum(axis=1, keepdims=True)
    d = np.array([[np.sqrt(1 - histogram_affinity(a, b)) for a in h] for b in h])
    assert (d[:, None, :] <= d[:, :, None] + d[None, :, :] + 1e-6).all()


def test_statistics_are_pillows(noise: np.ndarray) -> None:
    stat = ImageStat.Stat(Image.fromarray(noise))
    mean, std = np.array(stat.mean) / 127.5 - 1, np.array(stat.stddev) / 127.5
    np.testing.assert_allclose(colour_statistics(noise), [*mean, *std], atol=1e-9)
    ends = np.zeros((2, 1, 3), np.uint8)
    ends[1] = 255
    np.testing.assert_allclose(colour_statistics(ends), [0, 0, 0, 1, 1, 1], atol=1e-12)
