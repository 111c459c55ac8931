"""How much the colours of pictures are those of a style's references, as a competition counts it.

Jittor AI challenge 2024, track "style": the correlation of a picture's histogram with the mean
histogram of the references, once over 4,096 colours in RGB and once over 72 in HSV, averaged.

The published scorer has faults that decide its numbers: it adds bin indices in 8 bits, so that the
256 fold of blue is 0 and blue does not count; it doubles hues in 8 bits, so that those from 256
degrees begin at 0 again; and it leaves the last bin of HSV out. `official` repeats them.
"""

import numpy as np

from toolkit.measures.opencv_hsv import rgb_to_hsv

RGB_BINS, HSV_BINS = 16**3, 72
_HUE_ENDS = (20, 40, 75, 155, 190, 270, 295, 315)  # degrees, inclusive; above the last: class 0
_THIRDS = (51, 178)


def rgb_histogram(pixels: np.ndarray, official: bool) -> np.ndarray:
    """Pixels in each of 16 × 16 × 16 colours: float64 [4096]. pixels: uint8 [...,3], RGB."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64) // 16, -1, 0)
    index = green * 16 + red if official else blue * 256 + green * 16 + red
    return np.bincount(index.ravel(), minlength=RGB_BINS).astype(np.float64)


def hsv_histogram(pixels: np.ndarray, official: bool) -> np.ndarray:
    """Pixels in each of 8 hues × 3 saturations × 3 values: float64 [72]. pixels: uint8 [...,3]."""
    hue, saturation, value = np.moveaxis(rgb_to_hsv(pixels), -1, 0)
    degrees = 2 * hue % 256 if official else 2 * hue
    hue_class = np.searchsorted(_HUE_ENDS, degrees) % len(_HUE_ENDS)
    index = (
        9 * hue_class + 3 * np.searchsorted(_THIRDS, saturation) + np.searchsorted(_THIRDS, value)
    )
    counts = np.bincount(index.ravel(), minlength=HSV_BINS).astype(np.float64)
    if official:
        counts[-1] = 0
    return counts


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, of two histograms, in [-1,1]; 1 where one of them is flat (OpenCV's
    HISTCMP_CORREL)."""
    n = len(a)
    num = a @ b - a.sum() * b.sum() / n
    den = (a @ a - a.sum() ** 2 / n) * (b @ b - b.sum() ** 2 / n)
    return float(num / np.sqrt(den)) if abs(den) > np.finfo(np.float32).eps else 1.0


class ReferenceColours:
    """The mean histograms of a style's references, given one at a time."""

    def __init__(self, official: bool):
        self.official = official
        self._sums: tuple[np.ndarray, ...] = (np.zeros(RGB_BINS), np.zeros(HSV_BINS))
        self._count = 0

    def add(self, pixels: np.ndarray) -> None:
        """One reference: uint8 [H,W,3]."""
        added = zip(self._sums, self._histograms(pixels), strict=True)
        self._sums = tuple(total + counts for total, counts in added)
        self._count += 1

    def score(self, pixels: np.ndarray) -> float:
        """Of one picture, uint8 [H,W,3], in [-1,1]; 1 for histograms of one shape."""
        means = (total / self._count for total in self._sums)
        pairs = zip(self._histograms(pixels), means, strict=True)
        return float(np.mean([correlation(own, mean) for own, mean in pairs]))

    def _histograms(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rgb_histogram(pixels, self.official), hsv_histogram(pixels, self.official)
