"""The measures of quality control, written down plainly with scipy and numpy: what one would write
first, to compare speeds with. The same numbers up to the shortcuts that `measures/` takes."""

import numpy as np
from scipy import ndimage


def plain_measures(picture: np.ndarray, content: np.ndarray, style: np.ndarray) -> dict[str, float]:
    """uint8 [H,W,3] each. What the style and content are measured at is not kept."""
    own, others = _of(picture), [_of(content), _of(style)]
    found = {name: own[name] for name in ("high", "contrast", "deviation", "grid")}
    for name in ("saturated", "clipped", "impulses"):
        found[name] = own[name] - max(other[name] for other in others)
    for name, least in (("high_frequency", 0.04), ("noise", 1.0)):
        found[name] = own[name] / max(*(other[name] for other in others), least)
    for sigma in (1, 4):
        found[f"structure_{sigma}"] = _correlation(picture, content, sigma)
    found["leak"] = _correlation(picture, style, 4)
    return found


def _luma(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _of(pixels: np.ndarray) -> dict[str, float]:
    luma = _luma(pixels)
    low, high = np.percentile(luma, [1, 99])
    values = pixels.max(-1) / 255
    saturation = (pixels.max(-1) - pixels.min(-1)) / np.maximum(pixels.max(-1), 1)
    window = np.hanning(luma.shape[0])[:, None] * np.hanning(luma.shape[1])[None]
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2
    away = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in luma.shape), indexing="ij")) > 0.25
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    noise = np.abs(ndimage.convolve(luma, mask)).mean() * np.sqrt(np.pi / 2) / 6
    residual = luma - ndimage.gaussian_filter(luma, 1)
    return {
        "high": high / 255, "contrast": (high - low) / 255, "deviation": luma.std() / 255,
        "saturated": ((saturation > 0.9) & (values > 0.35)).mean(),
        "clipped": ((pixels.min(-1) <= 2) | (pixels.max(-1) >= 253)).mean(),
        "high_frequency": power[away].sum() / max(power.sum(), 1e-6), "noise": noise,
        "impulses": (np.abs(luma - ndimage.median_filter(luma, 3)) > 60).mean(),
        "grid": max(_grid(residual, period) for period in (8, 14, 16)),
    }  # fmt: skip


def _grid(residual: np.ndarray, period: int) -> float:
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(residual, axis=axis)).mean(1 - axis)
        phases = [steps[phase::period].mean() for phase in range(period)]
        found.append(max(phases) / (np.median(phases) + 1e-6))
    return max(found)


def _edges(pixels: np.ndarray, sigma: float) -> np.ndarray:
    luma = ndimage.gaussian_filter(_luma(pixels), sigma)
    size = np.hypot(ndimage.sobel(luma, 0), ndimage.sobel(luma, 1))
    edges: np.ndarray = ndimage.gaussian_filter(size, sigma)
    return edges


def _correlation(a: np.ndarray, b: np.ndarray, sigma: float) -> float:
    first, second = _edges(a, sigma), _edges(b, sigma)
    first, second = first - first.mean(), second - second.mean()
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / norm) if norm > 1e-9 else 0.0
