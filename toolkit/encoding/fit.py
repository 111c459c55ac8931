"""How a picture that is no square becomes one."""

from typing import Literal, get_args

import numpy as np

from toolkit.core.errors import UserError
from toolkit.store.images import decode_jpeg, decode_rgb, is_jpeg
from toolkit.stream.decode import decode_cut

Fit = Literal["crop", "squash", "pad"]


def decode_fitted(data: bytes, out: np.ndarray, fit: Fit) -> None:
    """Decodes a picture into a square.

    Args:
        data: bytes of a stored picture.
        out: uint8 [S,S,3]; overwritten.
        fit: crop takes the central square; squash all of the picture, each side scaled by itself;
            pad all of it, scaled as one, on black.

    Raises:
        PictureError: the bytes do not decode.
        UserError: an unknown fit.
    """
    if fit not in get_args(Fit):
        raise UserError(f"fit={fit}: choose {', '.join(get_args(Fit))}")
    if fit == "crop":
        decode_cut(data, out)
        return
    from PIL import Image

    size = out.shape[0]
    pixels = decode_jpeg(data, "RGB", min_size=size) if is_jpeg(data) else decode_rgb(data)
    height, width = pixels.shape[:2]
    longer = max(height, width) if fit == "pad" else 0
    shape = (max(1, round(size * s / (longer or s))) for s in (width, height))
    across, down = shape
    resized = Image.fromarray(pixels).resize(
        (across, down), Image.Resampling.BICUBIC, reducing_gap=2.0
    )
    out[:] = 0
    top, left = (size - down) // 2, (size - across) // 2
    out[top : top + down, left : left + across] = np.asarray(resized)
