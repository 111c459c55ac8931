"""Colour histograms and colour statistics of pictures, and how alike two of them are."""

import numpy as np

BINS_PER_CHANNEL = 8


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Joint RGB histogram with 8³ bins: float64 [512], summing to 1. pixels: uint8 [H,W,3]."""
    bins = (pixels >> 5).astype(np.int64)  # in int64: in uint8 the index would overflow
    index = (bins[..., 0] * BINS_PER_CHANNEL + bins[..., 1]) * BINS_PER_CHANNEL + bins[..., 2]
    counts = np.bincount(index.ravel(), minlength=BINS_PER_CHANNEL**3)
    return counts / counts.sum()


def histogram_affinity(a: np.ndarray, b: np.ndarray) -> float:
    """Bhattacharyya coefficient Σ√(a·b) of two histograms, in [0,1]; 1 where they are equal.

    Bhattacharyya 1943. √(1 − value) is the Hellinger distance.
    """
    return float(min(1.0, np.sqrt(a * b).sum()))


def colour_statistics(pixels: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each channel: float64 [6], of values in [-1,1]."""
    values = pixels.reshape(-1, 3).astype(np.float64) / 127.5 - 1
    return np.concatenate([values.mean(0), values.std(0)])
