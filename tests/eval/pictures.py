"""Pictures for tests of metrics."""

import numpy as np


def picture(seed: int, size: int = 80) -> np.ndarray:
    """A smooth random picture, so that it has colours and edges: uint8 [S,S,3]."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random((size, size, 3))
    smooth = gaussian_filter(noise, (3, 3, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return (smooth * 255).astype(np.uint8)


def disturbed(pixels: np.ndarray, amount: int) -> np.ndarray:
    """With noise of up to `amount` levels."""
    noise = np.random.default_rng(1).integers(-amount, amount, pixels.shape)
    return np.clip(pixels.astype(int) + noise, 0, 255).astype(np.uint8)
