"""Bytes to a square: untouched where the size is right, else near Pillow's own central cut."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from toolkit.store.images import PictureError
from toolkit.stream.decode import Framing, decode_cut

Encode = Callable[..., bytes]
MakePicture = Callable[..., np.ndarray]


def decode(data: bytes, size: int) -> tuple[np.ndarray, Framing]:
    out = np.full((size, size, 3), 77, np.uint8)
    framing = decode_cut(data, out)
    return out, framing


def reference(data: bytes, size: int) -> np.ndarray:
    """Pillow alone: decode all of it, cut the central square, resize."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS)).astype(int)


@pytest.mark.parametrize("size", [1, 8, 48, 64, 100])
def test_a_jpeg_of_the_wanted_size_goes_untouched(
    size: int, make_picture: MakePicture, encode: Encode
) -> None:
    data = encode(make_picture(1, size, size))
    pixels, framing = decode(data, size)
    np.testing.assert_array_equal(pixels, simplejpeg.decode_jpeg(data, "RGB"))
    assert framing == Framing(size, size, 0, 0)


def test_a_png_of_the_wanted_size_goes_untouched(make_picture: MakePicture, encode: Encode) -> None:
    picture = make_picture(2, 48, 48)
    pixels, framing = decode(encode(picture, "PNG"), 48)
    np.testing.assert_array_equal(pixels, picture)
    assert framing == Framing(48, 48, 0, 0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("width", "height"),
    [(640, 640), (640, 400), (300, 512), (70, 65), (64, 65), (1024, 96), (40, 40), (30, 90)],
)
def test_other_sizes_come_close_to_pillow(
    width: int, height: int, form: str, make_picture: MakePicture, encode: Encode
) -> None:
    data = encode(make_picture(3, width, height), form)
    pixels, _ = decode(data, 64)
    assert np.abs(pixels - reference(data, 64)).mean() < 2
    assert np.abs(pixels - reference(data, 64)).max() < 20


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("width", "height", "left", "top"),
    [(300, 100, 100, 0), (100, 300, 0, 100), (201, 100, 50, 0), (96, 97, 0, 0)],
)
def test_the_cut_is_central_and_framing_says_where(
    width: int, height: int, left: int, top: int, form: str, encode: Encode
) -> None:
    """Stripes outside the central square must not show, a mark in its middle must."""
    shorter = min(width, height)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = 255
    picture[top : top + shorter, left : left + shorter] = (0, 0, 255)
    pixels, framing = decode(encode(picture, form, **({"quality": 100} if form == "JPEG" else {})),
                             32)  # fmt: skip
    assert framing == Framing(height, width, top, left)
    inner = pixels[2:-2, 2:-2].astype(int)
    assert np.abs(inner - (0, 0, 255)).max() < 30


def test_upright_stays_upright(encode: Encode) -> None:
    """Nothing is mirrored or turned: top left dark, top right red, bottom left green."""
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[:100, 100:, 0] = 255
    picture[100:, :100, 1] = 255
    for form in ("JPEG", "PNG"):
        pixels, _ = decode(encode(picture, form), 16)
        assert pixels[3, 3].max() < 20
        assert pixels[3, 12, 0] > 230
        assert pixels[12, 3, 1] > 230


def test_grey_and_cmyk_jpegs_decode(make_picture: MakePicture) -> None:
    for mode in ("L", "CMYK"):
        for side in (48, 200):
            image = Image.fromarray(make_picture(4, side, side)).convert(mode)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=95)
            pixels, framing = decode(buffer.getvalue(), 48)
            assert framing.height == side
            assert np.abs(pixels - reference(buffer.getvalue(), 48)).mean() < 3


def test_every_pixel_is_written(encode: Encode, make_picture: MakePicture) -> None:
    data = encode(make_picture(5, 90, 60))
    first, second = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    decode_cut(data, first)
    decode_cut(data, second)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("side", [48, 100])
def test_what_does_not_decode_raises_picture_error(
    side: int, make_picture: MakePicture, encode: Encode
) -> None:
    jpeg, png = (encode(make_picture(6, side, side), form) for form in ("JPEG", "PNG"))
    for data in (jpeg[: len(jpeg) // 2], png[: len(png) // 2], b"text", b"", jpeg[:30]):
        with pytest.raises(PictureError):
            decode(data, 48)
