"""The perceptual hash: imagehash's own bits, distances that SQL computes, none for plain areas."""

import functools
import io
from collections.abc import Callable

import duckdb
import imagehash
import numpy as np
import pytest
from PIL import Image

from toolkit.measures.hashes import perceptual_hash
from toolkit.store.images import reduced_grey

MakePicture = Callable[..., np.ndarray]


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"))


CONNECTION = functools.cache(duckdb.connect)


def distance(a: int | None, b: int | None) -> int:
    """The Hamming distance as a query computes it."""
    row = CONNECTION().execute("SELECT bit_count(xor(?::BIGINT, ?::BIGINT))", [a, b]).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("shape", [(64, 64), (200, 90), (33, 500)])
def test_the_bits_are_imagehashs(shape: tuple[int, int], make_picture: MakePicture) -> None:
    for seed in range(12):
        pixels = grey(make_picture(seed, shape[1], shape[0]))
        ours = perceptual_hash(pixels)
        assert ours is not None
        assert -(2**63) <= ours < 2**63
        assert f"{ours % 2**64:016x}" == str(imagehash.phash(Image.fromarray(pixels)))


def test_distances_are_imagehashs(make_picture: MakePicture) -> None:
    pictures = [grey(make_picture(seed, 80, 64)) for seed in range(6)]
    ours = [perceptual_hash(p) for p in pictures]
    theirs = [imagehash.phash(Image.fromarray(p)) for p in pictures]
    for i in range(6):
        for j in range(6):
            assert distance(ours[i], ours[j]) == theirs[i] - theirs[j]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_picture_has_none(level: int) -> None:
    assert perceptual_hash(np.full((70, 64), level, np.uint8)) is None
    assert perceptual_hash(np.array([[level]], np.uint8)) is None


def test_copies_are_near_and_strangers_are_far(make_picture: MakePicture) -> None:
    """Through the whole path: file bytes, reduced grey, hash."""
    original = make_picture(1, 400, 300)

    def hashed(image: Image.Image, form: str, **options: int) -> int | None:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        return perceptual_hash(reduced_grey(buffer.getvalue()))

    image = Image.fromarray(original)
    reference = hashed(image, "PNG")
    copies = [
        hashed(image, "JPEG", quality=95),
        hashed(image, "JPEG", quality=30),
        hashed(image.resize((200, 150)), "PNG"),
        hashed(image.resize((800, 600)), "JPEG"),
        hashed(image.convert("L"), "JPEG"),
        hashed(image, "WEBP"),
    ]
    assert max(distance(reference, copy) for copy in copies) <= 6
    strangers = [hashed(Image.fromarray(make_picture(s, 400, 300)), "JPEG") for s in range(2, 12)]
    assert min(distance(reference, stranger) for stranger in strangers) >= 14


def test_the_hash_does_not_hang_on_rounding(make_picture: MakePicture) -> None:
    """The bits stay when the cosine transform is computed another way: no coefficient of a real
    picture lies so near the median that the order of additions decides."""
    k, n = np.mgrid[0:32, 0:32].astype(np.longdouble)
    matrix = np.cos(np.pi * k * (2 * n + 1) / 64)
    for seed in range(40):
        pixels = grey(make_picture(seed, 90, 70))
        small = Image.fromarray(pixels).resize((32, 32), Image.Resampling.LANCZOS)
        low = (matrix @ np.asarray(small).astype(np.longdouble) @ matrix.T)[:8, :8]
        bits = (low > np.median(low)).flatten()
        expected = int("".join("01"[int(bit)] for bit in bits), 2)
        assert perceptual_hash(pixels) % 2**64 == expected
