"""Picture bytes: checked, decoded, normalised, encoded. The only file that knows the codecs.

JPEG goes through libjpeg-turbo (simplejpeg), which releases the interpreter lock; everything else
through Pillow. Both use integer arithmetic, so pixels are the same on every machine.
"""

import contextlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.errors import one_line

MAX_PIXELS = 178_956_970  # Pillow's own limit, kept as a refusal rather than a warning
PICTURE_EXTENSIONS = {
    "jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp",
    "tif": "tif", "tiff": "tif", "avif": "avif",
}  # fmt: skip
# Nothing else is tried: some of Pillow's formats start other programs.
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
JPEG_QUALITY = 95
_ORIENTATION_TAG = 0x0112


class PictureError(Exception):
    """Bytes that cannot be used as a picture. `cause` is a short code for the manifest."""

    def __init__(self, cause: str, message: object):
        super().__init__(one_line(message))
        self.cause = cause


@dataclass(frozen=True)
class Picture:
    """A picture that decodes. width and height in pixels; format in lower case, as `jpeg`.

    changes: what was done to the original bytes, empty when they are untouched.
    """

    data: bytes
    width: int
    height: int
    format: str
    changes: tuple[str, ...] = ()


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG file does."""
    return data[:3] == b"\xff\xd8\xff"


def picture_extension(name: str) -> str | None:
    """The canonical picture extension of a file name or member extension, or None."""
    return PICTURE_EXTENSIONS.get(name.rpartition(".")[2].lower())


def ingest(data: bytes) -> Picture:
    """Checks a picture by decoding all of it and normalises it where training would stumble.

    Kept byte for byte: 8-bit grey or colour pictures without orientation, alpha or a foreign
    colour profile. Otherwise the first frame is turned upright, converted to sRGB, laid on white
    and encoded anew: as JPEG (quality 95, 4:4:4) where it was lossy, else as PNG.

    Raises PictureError with a cause: empty, not_a_picture, truncated, too_large, undecodable.
    """
    if not data:
        raise PictureError("empty", "the file has no bytes")
    image = _open(data)
    if image.width * image.height > MAX_PIXELS:
        raise PictureError("too_large", f"{image.width}×{image.height} pixels")
    kind = (image.format or "").lower()
    if kind not in ("jpeg", "mpo"):
        _load(image)  # first: looking for EXIF would read on and hide what is broken
    changes = _needed_changes(image)
    if kind in ("jpeg", "mpo"):
        if changes:
            _load(image)
        else:
            decode_jpeg(data)
    if not changes:
        return Picture(data, image.width, image.height, "jpeg" if kind == "mpo" else kind)
    upright = _normalise(image)
    lossy = kind in ("jpeg", "mpo", "webp", "avif")
    buffer = io.BytesIO()
    if lossy:
        upright.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        upright.save(buffer, "PNG")
    name = "jpeg" if lossy else "png"
    return Picture(buffer.getvalue(), upright.width, upright.height, name, changes)


def decode_rgb(data: bytes) -> np.ndarray:
    """Pixels of a stored picture: uint8 [H,W,3]. Raises PictureError."""
    if is_jpeg(data):
        return decode_jpeg(data)
    image = _open(data)
    _load(image)
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
        cause = "truncated" if "premature end" in str(error).lower() else "undecodable"
        raise PictureError(cause, error) from None
    return pixels[..., 0] if colorspace == "GRAY" and pixels.ndim == 3 else pixels


def reduced_grey(data: bytes, min_size: int = 64) -> np.ndarray:
    """A small grey version for hashing: uint8 [h,w], at least `min_size` pixels a side if it can.

    JPEG: DCT-scaled decode of the luminance alone; otherwise a box reduction by a whole factor.
    """
    from PIL import Image

    if is_jpeg(data):
        return decode_jpeg(data, "GRAY", min_size)
    image = Image.fromarray(decode_rgb(data)).convert("L")
    factor = max(1, min(image.width, image.height) // min_size)
    return np.asarray(image.reduce(factor))


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


def _open(data: bytes) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
    except UnidentifiedImageError:
        head = data[:12].decode("latin-1").encode("unicode_escape").decode()
        raise PictureError("not_a_picture", f"no picture format begins with '{head}'") from None
    except Image.DecompressionBombError as error:
        raise PictureError("too_large", error) from None
    except Exception as error:  # Pillow's plugins raise anything on hostile bytes
        raise PictureError("undecodable", error) from None


def _load(image: Any) -> None:
    try:
        image.load()
    except Exception as error:  # Pillow's plugins raise anything on hostile bytes
        text = str(error).lower()
        cause = "truncated" if "truncat" in text or "unexpected end" in text else "undecodable"
        raise PictureError(cause, error) from None


def _decode_by_pillow(data: bytes, colorspace: str) -> np.ndarray:
    image = _open(data)
    _load(image)
    return np.asarray(image.convert("L" if colorspace == "GRAY" else "RGB"))


def _needed_changes(image: Any) -> tuple[str, ...]:
    changes = []
    if image.mode not in ("RGB", "L", "P", "1"):
        changes.append(f"mode {image.mode}")
    if "transparency" in image.info:
        changes.append("transparency")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        changes.append("frames")
    try:
        if image.getexif().get(_ORIENTATION_TAG, 1) not in (0, 1):
            changes.append("orientation")
    except Exception:  # damaged EXIF carries no usable orientation
        changes.append("exif")
    profile = image.info.get("icc_profile")
    if profile and not _is_srgb(profile):
        changes.append("icc")
    return tuple(changes)


def _is_srgb(profile: bytes) -> bool:
    """Whether a colour profile is named sRGB and has its primaries."""
    from PIL import ImageCms

    if b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        return False
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        known = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).profile
        pairs = [
            (getattr(p, f"{c}_colorant") or ((9, 9, 9),))[0]
            for c in ("red", "green", "blue")
            for p in (given, known)
        ]
    except (ImageCms.PyCMSError, OSError):
        return False
    return all(
        abs(x - y) < 0.01
        for a, b in zip(pairs[::2], pairs[1::2], strict=True)
        for x, y in zip(a, b, strict=True)
    )


def _to_8_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """16 bits keep their high byte. 32-bit and float pictures do not say what their white is: it is
    taken to be the smallest of 1 (floats only), 255 and 65535 that holds all values, or else the
    largest value."""
    if mode.startswith("I;16"):
        return (values.astype(np.int64) >> 8).astype(np.uint8)
    values = np.nan_to_num(values.astype(np.float64))
    largest = float(values.max())
    whites = [w for w in (1.0 if mode == "F" else 255.0, 255.0, 65535.0) if largest <= w]
    return (np.clip(values / (whites[0] if whites else largest), 0, 1) * 255).astype(np.uint8)


def _normalise(image: Any) -> Any:
    """First frame, upright, sRGB, 8 bits, on white."""
    from PIL import Image, ImageCms, ImageOps

    _load(image)
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_8_bits(np.asarray(image), image.mode))
    with contextlib.suppress(Exception):  # damaged EXIF: the picture itself is fine
        image = ImageOps.exif_transpose(image)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):  # unusable or mismatched profile: plain conversion
            pass
    image = image.convert("RGB")
    image.info = {}
    return image
