"""The competition's colours: against OpenCV's own conversion, and the faults of its scorer."""

import colorsys
from typing import Any

import numpy as np
import pytest

from toolkit.measures.competition_histograms import (
    ReferenceColours,
    correlation,
    hsv_histogram,
    rgb_histogram,
)
from toolkit.measures.opencv_hsv import rgb_to_hsv


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def test_hsv_is_that_of_the_standard_library_within_a_step() -> None:
    pixels = noise(0, 500)
    found = rgb_to_hsv(pixels)
    for (h, s, v), rgb in zip(found, pixels, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(rgb / 255))
        assert min(abs(h - 180 * hue), 180 - abs(h - 180 * hue)) <= 0.6
        assert abs(s - 255 * saturation) <= 0.6
        assert v == round(255 * value)


def test_hsv_and_correlation_are_those_of_opencv(peer: Any) -> None:
    cv2 = peer("eval", "cv2")
    pixels = noise(1, 400, 500)
    assert np.array_equal(rgb_to_hsv(pixels), cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))
    a, b = (rgb_histogram(noise(k, 64, 64), False).astype(np.float32) for k in (2, 3))
    for x, y in ((a, b), (a, a), (a, 0 * b), (0 * a + 7, b)):
        expected = cv2.compareHist(x, y, cv2.HISTCMP_CORREL)
        assert correlation(x.astype(float), y.astype(float)) == pytest.approx(expected, abs=1e-9)


def test_official_is_the_published_program_by_opencv(peer: Any) -> None:
    """Its two histograms as it makes them: bin indices in 8 bits, hues doubled in 8 bits."""
    cv2 = peer("eval", "cv2")
    pixels = noise(4, 96, 80)
    red, green, blue = (pixels[..., k] // 16 for k in range(3))
    with np.errstate(over="ignore"):
        index = blue * np.uint8(16) * np.uint8(16) + green * np.uint8(16) + red
    counts = cv2.calcHist([index.astype(np.uint8)], [0], None, [4096], [0, 4096]).ravel()
    assert np.array_equal(rgb_histogram(pixels, True), counts)
    hue, saturation, value = np.moveaxis(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), -1, 0)
    degrees = hue * np.uint8(2)
    ends = (20, 40, 75, 155, 190, 270, 295, 315)
    hues = np.select([degrees <= end for end in ends], range(8), 0)
    thirds = [np.where(x > 178, 2, np.where(x > 51, 1, 0)) for x in (saturation, value)]
    index = (9 * hues + 3 * thirds[0] + thirds[1]).astype(np.uint8)
    counts = cv2.calcHist([index], [0], None, [72], [0, 71]).ravel()
    assert np.array_equal(hsv_histogram(pixels, True), counts)


def test_official_does_not_see_blue_in_rgb() -> None:
    blue, black = np.zeros((2, 8, 8, 3), np.uint8)
    blue[..., 2] = 255
    assert correlation(rgb_histogram(blue, True), rgb_histogram(black, True)) == pytest.approx(1)
    assert correlation(rgb_histogram(blue, False), rgb_histogram(black, False)) < 0.01


@pytest.mark.parametrize("official", [True, False])
def test_a_style_is_nearest_to_itself_and_order_changes_nothing(official: bool) -> None:
    """References of one palette; a picture of it, one half of it, and one of another palette."""
    rng = np.random.default_rng(5)
    palettes = rng.integers(0, 256, (2, 6, 3), np.uint8)
    drawn = [palettes[k][rng.integers(0, 6, (40, 40))] for k in (0, 0, 0, 0, 1)]
    *references, own, other = drawn
    half = own.copy()
    half[20:] = other[20:]
    forwards, backwards = ReferenceColours(official), ReferenceColours(official)
    for reference in references:
        forwards.add(reference)
    for reference in reversed(references):
        backwards.add(reference)
    scores = [forwards.score(picture) for picture in (own, half, other)]
    assert 0.9 < scores[0] <= 1 + 1e-12
    assert scores[0] > scores[1] > scores[2]
    assert scores == [backwards.score(picture) for picture in (own, half, other)]


def test_official_takes_far_hues_for_near_ones() -> None:
    """Hues from 256 degrees wrap: magenta (300) counts as a green-yellow (44)."""
    magenta, lime = (np.full((4, 4, 3), rgb, np.uint8) for rgb in ((255, 0, 255), (255, 187, 0)))
    assert np.array_equal(hsv_histogram(magenta, True), hsv_histogram(lime, True))
    assert not np.array_equal(hsv_histogram(magenta, False), hsv_histogram(lime, False))
