"""Picture bytes to a square of pixels, written straight into a batch's buffer."""

from dataclasses import dataclass

import numpy as np

from toolkit.store.images import PictureError, decode_jpeg, decode_rgb, is_jpeg


@dataclass(frozen=True)
class Framing:
    """Where a square came from. height, width: of the stored picture in pixels; top, left: of the
    cut in the stored picture, in pixels."""

    height: int
    width: int
    top: int
    left: int


def decode_square(data: bytes, out: np.ndarray) -> Framing:
    """Decodes a picture, cuts its central square and resizes it into `out`.

    A JPEG much larger than needed is scaled while decoding (in the DCT domain), which is exact
    arithmetic of libjpeg-turbo and saves most of the work.

    Args:
        data: bytes of a stored picture.
        out: uint8 [S,S,3], contiguous; overwritten.

    Raises:
        PictureError: the bytes do not decode.
    """
    size = out.shape[0]
    if not is_jpeg(data):
        pixels = decode_rgb(data)
        height, width = pixels.shape[:2]
    else:
        height, width, pixels = _decode_jpeg_near(data, size, out)
        if pixels is out:
            return Framing(height, width, 0, 0)
    _fit_square(pixels, out)
    shorter = min(height, width)
    return Framing(height, width, (height - shorter) // 2, (width - shorter) // 2)


def _decode_jpeg_near(data: bytes, size: int, out: np.ndarray) -> tuple[int, int, np.ndarray]:
    """(height, width, pixels of at least `size` a side if the picture has them)."""
    import simplejpeg

    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if (height, width) == (size, size):
            simplejpeg.decode_jpeg(data, "RGB", buffer=out)
            return height, width, out
    except ValueError as error:
        raise PictureError("undecodable", error) from None
    return height, width, decode_jpeg(data, "RGB", min_size=size)


def _fit_square(pixels: np.ndarray, out: np.ndarray) -> None:
    from PIL import Image

    if pixels.shape == out.shape:
        out[:] = pixels
        return
    size, (height, width) = out.shape[0], pixels.shape[:2]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    box = (left, top, left + shorter, top + shorter)
    # Fixed-point resampling gives the same pixels on every machine; the gap makes Pillow halve a
    # much larger picture by whole factors first, which is faster and hardly visible.
    resized = Image.fromarray(pixels).resize(
        (size, size), Image.Resampling.BICUBIC, box, reducing_gap=2.0
    )
    out[:] = np.asarray(resized)
