"""Edge structure: whether two pictures have their edges in the same places."""

import numpy as np

SIGMAS_PX = (1.0, 4.0)


def luma(pixels: np.ndarray) -> np.ndarray:
    """Rec. 601 luma in [0,255]: float64 [H,W] of uint8 [H,W,3]."""
    return pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def edge_correlation(a: np.ndarray, b: np.ndarray, sigma_px: float) -> float:
    """Normalised cross-correlation of two pictures' gradient magnitudes, in [-1,1].

    The gradients are Gaussian derivatives of width `sigma_px` of the luma. 1 for pictures whose
    luma differs by a positive factor and an offset; 0 where either has no edges at all.

    Args:
        a, b: uint8 [H,W,3] of equal shape.
        sigma_px: scale in pixels.
    """
    from scipy.ndimage import gaussian_gradient_magnitude

    first, second = (gaussian_gradient_magnitude(luma(p), sigma_px, mode="nearest") for p in (a, b))
    first, second = first - first.mean(), second - second.mean()
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / norm) if norm > 1e-9 else 0.0


def two_scale_edge_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of `edge_correlation` at 1 and at 4 pixels: fine structure and layout."""
    return float(np.mean([edge_correlation(a, b, sigma) for sigma in SIGMAS_PX]))
