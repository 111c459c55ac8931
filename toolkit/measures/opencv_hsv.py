"""Hue, saturation and value of 8-bit pictures in OpenCV's integers, without OpenCV.

cv::cvtColor with COLOR_RGB2HSV on uint8: saturation and hue are products with rounded reciprocals
in 12-bit fixed point; hue counts steps of two degrees, 0 to 179.
"""

import numpy as np

_SHIFT = 12


def rgb_to_hsv(pixels: np.ndarray) -> np.ndarray:
    """int64 [...,3]: hue 0..179, saturation 0..255, value 0..255. pixels: uint8 [...,3], RGB."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    half = 1 << (_SHIFT - 1)
    saturation = (chroma * _reciprocals(255)[value] + half) >> _SHIFT
    sixth = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    hue = (sixth * _reciprocals(180 / 6)[chroma] + half) >> _SHIFT
    return np.stack([hue + 180 * (hue < 0), saturation, value], axis=-1)


def _reciprocals(scale: float) -> np.ndarray:
    """int64 [256]: scale·2¹² / i, rounded to even; 0 for i = 0."""
    divisors = np.arange(1, 256)
    return np.concatenate([[0], np.rint((scale * 2**_SHIFT) / divisors).astype(np.int64)])
