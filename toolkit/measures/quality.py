"""What quality control looks at in a generated picture, and beside it in what it was made from.

`features` of one picture are worth keeping: a content and a style come back in many pairs.
`compare` turns three of them into the numbers that thresholds are for (`toolkit/teachers/grading`).

All of it works on luma of 8 bits. Structure at 4 pixels is taken from the picture shrunk four
times, where it is the structure at 1 pixel: a sixteenth of the work.
"""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image

from toolkit.measures.filters import (
    gaussian,
    gradient_magnitude,
    grey,
    median_of_nine,
    shrink,
)

PERIODS_PX = (8, 14, 16)
"""Of grids: the autoencoder's factor, patches of vision transformers, and twice the factor."""
_LEAST_POWER = 0.04
"""High-frequency share below which nothing counts as harsh, whatever content and style have."""


@dataclass(frozen=True)
class Features:
    """Of one picture.

    low, high: 1st and 99th percentile of the luma, in [0,1]; deviation: its standard deviation.
    saturated: share of pixels with saturation above 0.9 and value above 0.35; clipped: share of
    those with a channel of at most 2 or at least 253.
    fine, coarse: gradient magnitudes at 1 and at 4 pixels, blurred, less their mean, of length 1;
    float32 [H,W] and [H/4,W/4]; all 0 where there are no edges.
    high_frequency: share of the power above a quarter of a cycle a pixel; noise: Immerkær's
    standard deviation of noise, in levels of 255; impulses: share of pixels more than 60 levels
    from the median around them; grid: strongest period among `PERIODS_PX`, 1 for none.
    colours: means of blocks of 8 × 8 pixels, in [0,1]; float32 [H/8,W/8,3].
    """

    low: float
    high: float
    deviation: float
    saturated: float
    clipped: float
    fine: np.ndarray
    coarse: np.ndarray
    high_frequency: float
    noise: float
    impulses: float
    grid: float
    colours: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Numbers of a generated picture beside its content and style.

    structure_fine, structure_coarse: correlation of edges with the content's at 1 and 4 pixels, in
    [-1,1]; leak: with the style's, at 4 pixels.
    saturation_excess, clipping_excess, impulse_excess: shares beyond the larger of content's and
    style's. high_frequency_ratio, noise_ratio: times the larger of both.
    grid: strongest period, as a multiple of the larger of content's and style's. change: mean
    difference of colours from the content's, in [0,1]. clip_content: cosine of CLIP's embeddings of
    picture and content, where somebody computed them.
    The others are the picture's own, see `Features`.
    """

    high: float
    contrast: float
    deviation: float
    saturation_excess: float
    clipping_excess: float
    structure_fine: float
    structure_coarse: float
    leak: float
    high_frequency: float
    high_frequency_ratio: float
    noise_ratio: float
    impulse_excess: float
    grid: float
    change: float
    clip_content: float | None = None


def features(pixels: np.ndarray) -> Features:
    """Of uint8 [H,W,3], from 64 × 64 pixels on. Raises ValueError for anything else."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected uint8 [H,W,3], not {pixels.dtype} {list(pixels.shape)}")
    if min(pixels.shape[:2]) < 64:
        raise ValueError(f"expected at least 64 × 64 pixels, not {pixels.shape[:2]}")
    image = Image.fromarray(pixels)
    luma = grey(pixels)
    plane = luma.astype(np.float32)
    levels = np.array(Image.fromarray(luma).histogram())
    total = np.cumsum(levels) / luma.size
    mean = levels @ np.arange(256) / luma.size
    deviation = np.sqrt(levels @ (np.arange(256) - mean) ** 2 / luma.size)
    saturated, clipped = _extremes(pixels)
    blurred = gaussian(plane, 1)
    small = shrink(plane, 4)
    return Features(
        low=int(np.searchsorted(total, 0.01)) / 255,
        high=int(np.searchsorted(total, 0.99)) / 255,
        deviation=float(deviation) / 255,
        saturated=saturated,
        clipped=clipped,
        fine=_unit(gaussian(gradient_magnitude(blurred), 1)),
        coarse=_unit(gaussian(gradient_magnitude(gaussian(small, 1)), 1)),
        high_frequency=_high_frequency(plane),
        noise=_noise(luma),
        impulses=_impulses(luma),
        grid=_grid(plane - blurred),
        colours=np.asarray(image.reduce(8), np.float32) / np.float32(255),
    )


def compare(picture: Features, content: Features, style: Features) -> Comparison:
    """The numbers of one generated picture. All three of one shape, else ValueError."""
    if not picture.fine.shape == content.fine.shape == style.fine.shape:
        raise ValueError("pictures of one shape can be compared")
    return Comparison(
        high=picture.high,
        contrast=picture.high - picture.low,
        deviation=picture.deviation,
        saturation_excess=picture.saturated - max(content.saturated, style.saturated),
        clipping_excess=picture.clipped - max(content.clipped, style.clipped),
        structure_fine=float(np.vdot(picture.fine, content.fine)),
        structure_coarse=float(np.vdot(picture.coarse, content.coarse)),
        leak=float(np.vdot(picture.coarse, style.coarse)),
        high_frequency=picture.high_frequency,
        high_frequency_ratio=picture.high_frequency
        / max(content.high_frequency, style.high_frequency, _LEAST_POWER),
        noise_ratio=picture.noise / max(content.noise, style.noise, 1.0),
        impulse_excess=picture.impulses - max(content.impulses, style.impulses),
        grid=picture.grid / max(content.grid, style.grid, 1.0),
        change=float(np.abs(picture.colours - content.colours).mean()),
    )


def _extremes(pixels: np.ndarray) -> tuple[float, float]:
    """Shares of saturated and of clipped pixels."""
    red, green, blue = (np.ascontiguousarray(pixels[..., channel]) for channel in range(3))
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    # saturation is (most - least) / most: above 0.9 where most is over ten times the least
    tenfold = np.minimum(least, 25) * np.uint8(10)  # in 8 bits there is none above 25
    saturated = (least < 26) & (most > tenfold) & (most > 89)
    clipped = (least <= 2) | (most >= 253)
    return float(saturated.mean()), float(clipped.mean())


def _unit(plane: np.ndarray) -> np.ndarray:
    plane = plane - plane.mean()
    norm = float(np.sqrt(np.vdot(plane, plane)))
    # below a hundredth of a level everywhere it is rounding noise, not edges
    return plane / np.float32(norm) if norm > 0.01 * plane.size**0.5 else np.zeros_like(plane)


def _high_frequency(plane: np.ndarray) -> float:
    """Share of the power above a quarter of a cycle a pixel, under a Hann window."""
    from scipy.fft import rfft2

    window, counts, outside = _frequencies(*plane.shape)
    spectrum = rfft2((plane - plane.mean()) * window)
    power = spectrum.real**2
    power += spectrum.imag**2
    total = float(np.vdot(power, counts))
    return float(np.vdot(power, outside)) / total if total > 1e-6 else 0.0


@functools.lru_cache(maxsize=4)
def _frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The window; how often each of rfft2's numbers counts, since it leaves mirror images out; and
    the same above a quarter of a cycle a pixel."""
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    counts = np.ones((height, width // 2 + 1), np.float32)
    counts[:, 1 : (width + 1) // 2] = 2
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    return window.astype(np.float32), counts, counts * (rows**2 + columns**2 > 0.0625)


def _noise(luma: np.ndarray) -> float:
    """Immerkær, "Fast Noise Variance Estimation" (1996): the mean size of a filter's answer that
    flat and sloping areas do not give."""
    wide = luma.astype(np.int16)
    rows = wide[:-2] - 2 * wide[1:-1] + wide[2:]
    answer = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.abs(answer).mean() * np.sqrt(np.pi / 2) / 6)


def _impulses(luma: np.ndarray) -> float:
    median = median_of_nine(luma)
    return float((np.maximum(luma, median) - np.minimum(luma, median) > 60).mean())


def _grid(residual: np.ndarray) -> float:
    """Strongest against usual phase of the gradients of a picture less its blurred self, over both
    axes and all periods: seams of a grid stand at one phase."""
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(residual, axis=axis)).mean(axis=1 - axis)
        for period in PERIODS_PX:
            cut = steps[: len(steps) // period * period].reshape(-1, period).mean(0)
            found.append(float(cut.max() / (np.median(cut) + 1e-6)))
    return max(found)
