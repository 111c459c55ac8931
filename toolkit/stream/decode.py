"""Picture bytes to a square of pixels, written straight into a batch's buffer."""

import contextlib
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from toolkit.store.images import PictureError, decode_jpeg, decode_rgb, is_jpeg
from toolkit.stream.augment import Cut

_DCT_EIGHTHS = range(1, 9)  # libjpeg-turbo decodes to n/8 of the size


class Framing(NamedTuple):
    """Where a square came from. height, width: of the stored picture in pixels; top, left: of the
    cut in the stored picture, in pixels; flipped: whether it was mirrored afterwards."""

    height: int
    width: int
    top: int
    left: int
    flipped: bool = False


def decode_square(data: bytes, out: np.ndarray, cut: Cut = Cut()) -> Framing:  # noqa: B008 - frozen
    """Decodes a picture, cuts a square out of it and resizes that into `out`.

    A JPEG much larger than needed is scaled while decoding (in the DCT domain), which is exact
    arithmetic of libjpeg-turbo and saves most of the work.

    Args:
        data: bytes of a stored picture.
        out: uint8 [S,S,3], contiguous; overwritten.
        cut: which square; the central one by default.

    Raises:
        PictureError: the bytes do not decode.
    """
    if is_jpeg(data):
        height, width, pixels = _decode_jpeg(data, cut, out)
    else:
        pixels = decode_rgb(data)
        height, width = pixels.shape[:2]
    if pixels is not out:
        _fit(pixels, cut, out)
    if cut.flipped:
        out[:] = out[:, ::-1].copy()
    left, top, _ = cut.box(height, width)
    return Framing(height, width, top, left, cut.flipped)


def _decode_jpeg(data: bytes, cut: Cut, out: np.ndarray) -> tuple[int, int, np.ndarray]:
    """(height, width, pixels), the pixels in `out` itself where a scaled decode is just the square;
    else large enough for the cut if the picture is."""
    import simplejpeg

    size = out.shape[0]
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise PictureError("undecodable", error) from None
    if height == width and cut.scale == 1 and _scales_to(height, size):
        with contextlib.suppress(ValueError):  # of which `decode_jpeg` tells the cause
            simplejpeg.decode_jpeg(data, "RGB", min_height=size, min_width=size, buffer=out)
            return height, width, out
    return height, width, decode_jpeg(data, "RGB", min_size=math.ceil(size / cut.scale))


@lru_cache(maxsize=1024)
def _scales_to(side: int, size: int) -> bool:
    return any(-(-side * eighths // 8) == size for eighths in _DCT_EIGHTHS)


def _fit(pixels: np.ndarray, cut: Cut, out: np.ndarray) -> None:
    from PIL import Image

    if pixels.shape == out.shape and cut.scale == 1:
        out[:] = pixels
        return
    size = out.shape[0]
    left, top, side = cut.box(*pixels.shape[:2])
    # Fixed-point resampling gives the same pixels on every machine; the gap makes Pillow halve a
    # much larger picture by whole factors first, which is faster and hardly visible.
    resized = Image.fromarray(pixels).resize(
        (size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side),
        reducing_gap=2.0,
    )  # fmt: skip
    out[:] = np.asarray(resized)
