"""How a picture gets the size that a protocol asks for."""

from typing import Literal

import numpy as np


def fitted(
    pixels: np.ndarray, height: int, width: int, fit: Literal["crop", "squash"] = "crop"
) -> np.ndarray:
    """uint8 [H,W,3] as uint8 [height,width,3]: the largest part of the middle that has that shape,
    or each side scaled by itself. A picture of that size stays as it is."""
    if pixels.shape[:2] == (height, width):
        return pixels
    from PIL import Image, ImageOps

    picture, how = Image.fromarray(pixels), Image.Resampling.BICUBIC
    if fit == "squash":
        return np.asarray(picture.resize((width, height), how))
    return np.asarray(ImageOps.fit(picture, (width, height), how))
