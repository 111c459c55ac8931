"""From found bytes to stored ones: checked, and normalised where training would stumble."""

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.store.images import (
    JPEG_QUALITY,
    MAX_PIXELS,
    PictureError,
    decode_jpeg,
    load_picture,
    open_picture,
)

_ORIENTATION_TAG = 0x0112


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


def ingest(data: bytes) -> Picture:
    """Checks a picture by decoding all of it and normalises it where training would stumble.

    Kept byte for byte: 8-bit grey or colour pictures without orientation, alpha or a foreign
    colour profile. Otherwise the first frame is turned upright, converted to sRGB, laid on white
    and encoded anew: as JPEG (quality 95, 4:4:4) where it was lossy, else as PNG.

    Raises PictureError with a cause: empty, not_a_picture, truncated, too_large, undecodable.
    """
    if not data:
        raise PictureError("empty", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is settled here or a failure
        return _ingest(data)


def _ingest(data: bytes) -> Picture:
    image = open_picture(data)
    if image.width * image.height > MAX_PIXELS:
        raise PictureError("too_large", f"{image.width}×{image.height} pixels")
    kind = (image.format or "").lower()
    if kind not in ("jpeg", "mpo"):
        load_picture(image, data)  # first: looking for EXIF would read on and hide what is broken
    changes = _needed_changes(image)
    if kind in ("jpeg", "mpo"):
        if changes:
            load_picture(image, data)
        else:
            changes = _check_jpeg(data)
    if not changes:
        return Picture(data, image.width, image.height, "jpeg" if kind == "mpo" else kind)
    upright = _normalise(image, data)
    lossy = kind in ("jpeg", "mpo", "webp", "avif")
    buffer = io.BytesIO()
    if lossy:
        upright.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        upright.save(buffer, "PNG")
    name = "jpeg" if lossy else "png"
    return Picture(buffer.getvalue(), upright.width, upright.height, name, changes)


def _check_jpeg(data: bytes) -> tuple[str, ...]:
    """Decodes a JPEG; returns the changes it needs. Stray bytes between its parts harm no pixel but
    make strict readers refuse it, so such a file is encoded anew."""
    try:
        decode_jpeg(data)
    except PictureError as error:
        if "extraneous bytes before marker" not in str(error):
            raise
        return ("stray bytes",)
    return ()


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


def _normalise(image: Any, data: bytes) -> Any:
    """First frame, upright, sRGB, 8 bits, on white."""
    from PIL import Image, ImageCms, ImageOps

    load_picture(image, data)
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
