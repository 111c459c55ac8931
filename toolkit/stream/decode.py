"""Picture bytes to a cut of given height and width, written straight into a batch's buffer."""

import contextlib
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from toolkit.store.images import PictureError, decode_jpeg, decode_rgb, is_jpeg
from toolkit.stream.augment import Cut, is_narrow

_DCT_EIGHTHS = range(1, 9)  # libjpeg-turbo decodes to n/8 of the size


class Framing(NamedTuple):
    """Where a cut came from. height, width: of the stored picture in pixels; top, left: of the
    cut in the stored picture, in pixels; flipped: whether it was mirrored afterwards."""

    height: int
    width: int
    top: int
    left: int
    flipped: bool = False


def decode_cut(data: bytes, out: np.ndarray, cut: Cut = Cut()) -> Framing:  # noqa: B008 - frozen
    """Decodes a picture, cuts a box of the shape of `out` out of it and resizes that into `out`.

    A JPEG much larger than needed is scaled while decoding (in the DCT domain), which is exact
    arithmetic of libjpeg-turbo and saves most of the work.

    Args:
        data: bytes of a stored picture.
        out: uint8 [H,W,3], contiguous; overwritten.
        cut: which box; the largest in the middle by default.

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
    left, top, *_ = cut.box(height, width, out.shape[:2])
    return Framing(height, width, top, left, cut.flipped)


def _decode_jpeg(data: bytes, cut: Cut, out: np.ndarray) -> tuple[int, int, np.ndarray]:
    """(height, width, pixels), the pixels in `out` itself where a scaled decode is just the cut;
    else large enough for the cut if the picture is."""
    import simplejpeg

    shape = out.shape[:2]
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise PictureError("undecodable", error) from None
    if cut.scale == 1 and _scales_to(height, width, shape):
        with contextlib.suppress(ValueError):  # of which `decode_jpeg` tells the cause
            simplejpeg.decode_jpeg(data, "RGB", min_height=shape[0], min_width=shape[1], buffer=out)
            return height, width, out
    return height, width, decode_jpeg(data, "RGB", min_size=_needed(height, width, shape, cut))


@lru_cache(maxsize=1024)
def _scales_to(height: int, width: int, shape: tuple[int, int]) -> bool:
    """Whether the whole picture is the cut, and is decoded to just that size."""
    scaled = ((-(-height * n // 8), -(-width * n // 8)) for n in _DCT_EIGHTHS)
    return height * shape[1] == width * shape[0] and shape in scaled


def _needed(height: int, width: int, shape: tuple[int, int], cut: Cut) -> int:
    """Pixels of the shorter side with which the cut is at least as large as it will be."""
    side, own, other = (
        (shape[1], width, height) if is_narrow(height, width, shape) else (shape[0], height, width)
    )
    return math.ceil(side / cut.scale if own <= other else side * other / own / cut.scale)


def _fit(pixels: np.ndarray, cut: Cut, out: np.ndarray) -> None:
    from PIL import Image

    if pixels.shape == out.shape and cut.scale == 1:
        out[:] = pixels
        return
    height, width = out.shape[:2]
    left, top, across, down = cut.box(pixels.shape[0], pixels.shape[1], (height, width))
    # Fixed-point resampling gives the same pixels on every machine; the gap makes Pillow halve a
    # much larger picture by whole factors first, which is faster and hardly visible.
    resized = Image.fromarray(pixels).resize(
        (width, height), Image.Resampling.BICUBIC, (left, top, left + across, top + down),
        reducing_gap=2.0,
    )  # fmt: skip
    out[:] = np.asarray(resized)
