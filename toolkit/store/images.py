"""Picture bytes decoded and encoded. Only this file and `ingest.py` know the codecs.

JPEG goes through libjpeg-turbo (simplejpeg), which releases the interpreter lock; everything else
through Pillow. Both use integer arithmetic, so pixels are the same on every machine.
"""

import io
import struct
import zlib
from typing import Any

import numpy as np

from toolkit.core.errors import one_line

MAX_PIXELS = 178_956_970  # Pillow's own limit, kept as a refusal rather than a warning
PICTURE_EXTENSIONS = {
    "jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp",
    "tif": "tif", "tiff": "tif", "avif": "avif",
}  # fmt: skip
PICTURES_SQL = (  # of a manifest's column `members`
    "list_filter(members, lambda m: regexp_matches(m.ext, "
    f"'(^|\\.)({'|'.join(PICTURE_EXTENSIONS)})$'))"
)
# Nothing else is tried: some of Pillow's formats start other programs.
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
JPEG_QUALITY = 95
_BEGINNINGS = {
    b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif",
}  # fmt: skip
# How files of a format begin and end, to tell a cut file from a damaged one.
_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82"}


class PictureError(Exception):
    """Bytes that cannot be used as a picture. `cause` is a short code for the manifest."""

    def __init__(self, cause: str, message: object):
        super().__init__(one_line(message))
        self.cause = cause


def format_extension(data: bytes) -> str | None:
    """The extension of a picture's format, from how its bytes begin; None where no picture does."""
    if is_jpeg(data):
        return "jpg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((name for start, name in _BEGINNINGS.items() if data.startswith(start)), None)


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG file does."""
    return data[:3] == b"\xff\xd8\xff"


def picture_extension(name: str) -> str | None:
    """The canonical picture extension of a file name or member extension, or None."""
    return PICTURE_EXTENSIONS.get(name.rpartition(".")[2].lower())


def is_picture(name: str) -> bool:
    """Whether a file of this name, or a member of this extension, is a picture."""
    return picture_extension(name) is not None


def decode_rgb(data: bytes) -> np.ndarray:
    """Pixels of a stored picture: uint8 [H,W,3]. Raises PictureError."""
    if is_jpeg(data):
        return decode_jpeg(data)
    image = open_picture(data)
    load_picture(image, data)
    return np.asarray(image.convert("RGB"))


def decode_jpeg(data: bytes, colorspace: str = "RGB", min_size: int = 0) -> np.ndarray:
    """Decodes a JPEG: uint8 [H,W,3], or [H,W] for `GRAY`.

    With `min_size`, libjpeg-turbo scales in the DCT domain to the smallest size whose two sides
    are at least `min_size` pixels. Raises PictureError.
    """
    import simplejpeg

    try:
        pixels = simplejpeg.decode_jpeg(
            data, colorspace, min_height=min_size, min_width=min_size, fastdct=False
        )
    except ValueError as error:
        if "CMYK" in str(error).upper() or "colorspace" in str(error).lower():
            return _decode_by_pillow(data, colorspace)
        raise PictureError(_cause(data, error), error) from None
    return pixels[..., 0] if colorspace == "GRAY" and pixels.ndim == 3 else pixels


def reduced_grey(data: bytes, min_size: int = 64) -> np.ndarray:
    """A small grey version for hashing: uint8 [h,w], at least `min_size` pixels a side if it can.

    JPEG: DCT-scaled decode of the luminance alone; otherwise a box reduction by a whole factor.
    """
    if is_jpeg(data):
        return decode_jpeg(data, "GRAY", min_size)
    image = open_picture(data)
    load_picture(image, data)
    return reduced(image, min_size)


def reduced(image: Any, min_size: int = 64) -> np.ndarray:
    """`reduced_grey` of an opened and decoded Pillow image."""
    grey = image.convert("RGB").convert("L")
    return np.asarray(grey.reduce(max(1, min(image.width, image.height) // min_size)))


def encode_jpeg(pixels: np.ndarray, quality: int = 92) -> bytes:
    """Encodes uint8 [H,W,3] as JPEG without chroma subsampling."""
    import simplejpeg

    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "444")


def encode_png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 [H,W,3] without loss; the bytes may differ between builds of zlib."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encode_two_colour_png(mask: np.ndarray, off: tuple[int, ...], on: tuple[int, ...]) -> bytes:
    """A one-bit palette PNG of a bool [H,W] mask, with stored (uncompressed) deflate blocks.

    No compressor is involved, so the bytes do not depend on which zlib Python was built with.
    """
    height, width = mask.shape
    rows = np.packbits(mask, axis=1)
    raw = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()  # filter type 0 per row
    blocks = [raw[i : i + 65535] for i in range(0, len(raw), 65535)]
    stored = b"".join(
        struct.pack("<BHH", i == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for i, block in enumerate(blocks)
    )
    stream = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", bytes(off + on)), (b"IDAT", stream), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def open_picture(data: bytes) -> Any:
    """A Pillow image whose pixels are not decoded yet. Raises PictureError."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
    except UnidentifiedImageError:
        if data.startswith((*_ENDS, b"GIF8")) and len(data) > 12:
            raise PictureError(_cause(data, ""), "its header cannot be read") from None
        head = data[:12].decode("latin-1").encode("unicode_escape").decode()
        raise PictureError("not_a_picture", f"no picture format begins with '{head}'") from None
    except Image.DecompressionBombError as error:
        raise PictureError("too_large", error) from None
    except Exception as error:  # Pillow's plugins raise anything on hostile bytes
        raise PictureError(_cause(data, error), error) from None


def _cause(data: bytes, error: object) -> str:
    """`truncated` where the decoder says so or the file lacks its format's end, else
    `undecodable`."""
    text = str(error).lower()
    if any(hint in text for hint in ("premature end", "truncat", "unexpected end")):
        return "truncated"
    for start, end in _ENDS.items():
        if data.startswith(start) and not data.rstrip(b"\0").endswith(end):
            return "truncated"
    return "undecodable"


def load_picture(image: Any, data: bytes) -> None:
    """Decodes all pixels of an opened image. Raises PictureError."""
    try:
        image.load()
    except Exception as error:  # Pillow's plugins raise anything on hostile bytes
        raise PictureError(_cause(data, error), error) from None


def _decode_by_pillow(data: bytes, colorspace: str) -> np.ndarray:
    image = open_picture(data)
    load_picture(image, data)
    return np.asarray(image.convert("L" if colorspace == "GRAY" else "RGB"))
