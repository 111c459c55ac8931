"""Pictures decoded and encoded. Pillow is the reference for pixels."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from toolkit.store.images import (
    decode_jpeg,
    decode_rgb,
    encode_jpeg,
    encode_png,
    encode_two_colour_png,
    is_jpeg,
    picture_extension,
    reduced_grey,
)

Encode = Callable[..., bytes]


def save(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_jpeg_pixels_are_libjpeg_turbos_and_near_pillows(
    pixels: np.ndarray, encode: Encode
) -> None:
    data = encode(pixels)
    assert is_jpeg(data)
    got = decode_rgb(data)
    np.testing.assert_array_equal(got, simplejpeg.decode_jpeg(data, fastdct=False))
    assert np.abs(got.astype(int) - by_pillow(data)).max() <= 4
    np.testing.assert_array_equal(decode_jpeg(data, "GRAY").shape, (40, 64))


def test_grey_jpegs_become_rgb(pixels: np.ndarray) -> None:
    data = save(Image.fromarray(pixels[..., 0]), "JPEG")
    got = decode_rgb(data)
    assert got.shape == (40, 64, 3)
    assert (got[..., 0] == got[..., 2]).all()


@pytest.mark.parametrize(("min_size", "expected"), [(0, 320), (160, 160), (161, 200), (40, 40)])
def test_scaled_decoding_gives_the_smallest_size_that_is_enough(
    min_size: int, expected: int, make_picture: Callable[..., np.ndarray], encode: Encode
) -> None:
    data = encode(make_picture(2, 640, 320))
    got = decode_jpeg(data, min_size=min_size)
    assert min(got.shape[:2]) == expected
    assert got.shape[1] == 2 * got.shape[0]
    small = np.asarray(Image.open(io.BytesIO(data)).resize(got.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(got.astype(int) - small).mean() < 2


def test_reduced_grey_is_small_grey_and_true(
    make_picture: Callable[..., np.ndarray], encode: Encode
) -> None:
    big = make_picture(3, 640, 512)
    for form in ("JPEG", "PNG"):
        grey = reduced_grey(encode(big, form))
        assert grey.dtype == np.uint8
        assert grey.ndim == 2
        assert 64 <= min(grey.shape) < 128
        small = Image.fromarray(big).convert("L").resize(grey.shape[::-1], Image.Resampling.BOX)
        assert np.abs(grey.astype(int) - np.asarray(small)).mean() < 2
    assert reduced_grey(encode(big[:7, :5], "PNG")).shape == (7, 5)


def test_encoders_give_the_pixels_back(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(by_pillow(encode_png(pixels)), pixels)
    assert np.abs(by_pillow(encode_jpeg(pixels)).astype(int) - pixels).mean() < 3
    strided = pixels[::2, ::-1]
    assert np.abs(by_pillow(encode_jpeg(strided)).astype(int) - strided).mean() < 4


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (8, 8), (17, 9), (300, 2048)])
def test_two_colour_png_holds_exactly_its_mask(shape: tuple[int, int]) -> None:
    rng = np.random.Generator(np.random.Philox(shape[0]))
    mask = rng.integers(0, 2, size=shape).astype(bool)
    off, on = (1, 2, 3), (250, 128, 0)
    data = encode_two_colour_png(mask, off, on)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "P")
    np.testing.assert_array_equal(by_pillow(data), np.where(mask[..., None], on, off))
    assert decode_rgb(data).shape == (*shape, 3)


def test_two_colour_png_does_not_depend_on_zlib() -> None:
    """The deflate stream consists of stored blocks only, which leave a compressor no choice."""
    data = encode_two_colour_png(np.zeros((600, 1024), bool), (0, 0, 0), (255, 255, 255))
    assert len(data) > 600 * 1024 // 8
    body = data[data.index(b"IDAT") + 4 :][2:]
    assert body[0] & 0b110 == 0  # block type 0: stored


@pytest.mark.parametrize(
    ("name", "extension"),
    [("a.JPG", "jpg"), ("a.jpeg", "jpg"), ("x.y.Png", "png"), ("target.png", "png"),
     ("jpg", "jpg"), ("a.tiff", "tif"), ("a.txt", None), ("a", None), ("", None), ("a.jpg.", None)],
)  # fmt: skip
def test_picture_extensions(name: str, extension: str | None) -> None:
    assert picture_extension(name) == extension
