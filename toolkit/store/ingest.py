"""From found bytes to stored ones: checked, and normalised where training would stumble."""

import contextlib
import io
import re
import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from toolkit.core.errors import UserError
from toolkit.store.images import (
    JPEG_QUALITY,
    MAX_PIXELS,
    PictureError,
    load_picture,
    open_picture,
    reduced,
    reduced_grey,
)

_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Policy:
    """How pictures are taken in.

    check: `full` decodes each picture whole, `headers` reads its header only. size: shorter side in
    pixels that larger pictures are shrunk to, None to keep them. quality: of JPEGs encoded anew.
    """

    check: Literal["full", "headers"] = "full"
    size: int | None = None
    quality: int = JPEG_QUALITY

    def describe(self) -> dict[str, Any]:
        """What differs from the usual policy: part of a pack's fingerprint."""
        return {name: v for name, v in asdict(self).items() if v != getattr(Policy, name)}


def parse_policy(check: Literal["full", "headers"], reencode: str | None) -> Policy:
    """The policy of the flags --check and --reencode=SIZE[:QUALITY]. Raises UserError."""
    if reencode is None:
        return Policy(check)
    found = re.fullmatch(r"(\d{1,5})(?::(\d{1,3}))?", reencode)
    size, quality = (int(found[1]), int(found[2] or JPEG_QUALITY)) if found else (0, 0)
    if size < 1 or not 1 <= quality <= 100:
        raise UserError(f"--reencode={reencode}: write SIZE or SIZE:QUALITY, as 512 or 512:90")
    if check == "headers":
        raise UserError("--reencode decodes every picture: leave --check=headers away")
    return Policy(check, size, quality)


@dataclass(frozen=True)
class Picture:
    """A picture that can be stored. width and height in pixels; format in lower case, as `jpeg`.

    grey: its reduced grey version for hashing, as `reduced_grey` of the data gives it; None where
        only its header was read. changes: what was done to the original bytes, empty when they are
        untouched.
    """

    data: bytes
    width: int
    height: int
    format: str
    grey: np.ndarray | None
    changes: tuple[str, ...] = ()


def ingest(data: bytes, policy: Policy = Policy()) -> Picture:
    """Checks a picture by decoding all of it and normalises it where training would stumble.

    Kept byte for byte: 8-bit grey or colour pictures without orientation, alpha or a foreign
    colour profile. Otherwise the first frame is turned upright, converted to sRGB, laid on white
    and encoded anew: as JPEG (quality 95, 4:4:4) where it was lossy, else as PNG. A policy with a
    size encodes everything anew, as JPEG.

    Raises PictureError with a cause: empty, not_a_picture, truncated, too_large, undecodable.
    """
    if not data:
        raise PictureError("empty", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is settled here or a failure
        return _ingest(data, policy)


def _ingest(data: bytes, policy: Policy) -> Picture:
    image = open_picture(data)
    if image.width * image.height > MAX_PIXELS:
        raise PictureError("too_large", f"{image.width}×{image.height} pixels")
    kind = (image.format or "").lower()
    is_jpeg = kind in ("jpeg", "mpo")
    if not is_jpeg and policy.check == "full":
        load_picture(image, data)  # first: looking for EXIF would read on and hide what is broken
    changes = _needed_changes(image)
    if policy.size is not None:
        changes = (*changes, "reencode")
    grey = None
    if not changes and policy.check == "full":
        changes, grey = _check(data, image, is_jpeg)
    if not changes:
        return Picture(data, image.width, image.height, "jpeg" if is_jpeg else kind, grey)
    upright = _shrink(_normalise(image, data), policy.size)
    lossy = is_jpeg or kind in ("webp", "avif") or policy.size is not None
    buffer = io.BytesIO()
    if lossy:
        upright.save(buffer, "JPEG", quality=policy.quality, subsampling=0)
    else:
        upright.save(buffer, "PNG")
    stored = buffer.getvalue()
    grey = reduced_grey(stored) if policy.check == "full" else None
    return Picture(stored, upright.width, upright.height, "jpeg" if lossy else "png", grey, changes)


def _check(data: bytes, image: Any, is_jpeg: bool) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Decodes a picture that needs no change, and returns its reduced grey version; or the change
    that it does need.

    Of a JPEG every coefficient is decoded, whatever the size of the result, so the reduced decode
    finds all that a whole one finds. Stray bytes between its parts harm no pixel but make strict
    readers refuse it, so such a file is encoded anew.
    """
    try:
        return (), reduced_grey(data) if is_jpeg else reduced(image)
    except PictureError as error:
        if "extraneous bytes before marker" not in str(error):
            raise
        return ("stray bytes",), None


def _shrink(image: Any, size: int | None) -> Any:
    from PIL import Image

    if size is None or min(image.size) <= size:
        return image
    scale = size / min(image.size)
    sides = (max(size, round(side * scale)) for side in image.size)
    return image.resize(tuple(sides), Image.Resampling.LANCZOS, reducing_gap=3.0)


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
