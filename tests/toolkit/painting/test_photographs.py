"""The photographs in scikit-image's wheel: all there, and crops that are what they claim."""

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from toolkit.painting.photographs import PHOTOGRAPHS, crop, load

GENRES = {
    "abstract_painting", "animal_painting", "cityscape", "figurative", "flower_painting",
    "genre_painting", "illustration", "landscape", "marina", "mythological_painting",
    "nude_painting", "portrait", "religious_painting", "self_portrait", "sketch_and_study",
    "still_life", "symbolic_painting", "wildlife_painting",
}  # fmt: skip


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("name", [p.name for p in PHOTOGRAPHS])
def test_every_photograph_is_there_in_colour(name: str) -> None:
    pixels = load(name)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert min(pixels.shape[:2]) >= 256
    assert pixels.std() > 10


def test_they_are_scikit_images_own() -> None:
    for name, reference in (("astronaut", skimage_data.astronaut), ("coffee", skimage_data.coffee),
                            ("chelsea", skimage_data.chelsea)):  # fmt: skip
        np.testing.assert_array_equal(load(name), reference())


def test_names_captions_and_genres_are_usable() -> None:
    names = [p.name for p in PHOTOGRAPHS]
    assert len(set(names)) == len(names)
    assert len({p.file for p in PHOTOGRAPHS}) == len(names)
    assert len({p.caption for p in PHOTOGRAPHS}) == len(names)
    for photograph in PHOTOGRAPHS:
        assert photograph.name.isalpha()
        assert photograph.genre in GENRES
        assert photograph.caption == photograph.caption.strip().rstrip(".")
    assert 0 < sum(p.held_out for p in PHOTOGRAPHS) < len(names) / 2


@pytest.mark.parametrize("name", [p.name for p in PHOTOGRAPHS])
def test_a_crop_is_a_square_part_of_the_photograph(name: str) -> None:
    """Redrawn with Pillow alone from the same three integers; the seed decides the bytes."""
    pixels = load(name)
    height, width = pixels.shape[:2]
    got = crop(name, rng(1), 96)
    assert got.shape == (96, 96, 3)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, crop(name, rng(1), 96))
    assert (got != crop(name, rng(2), 96)).any()
    drawn = rng(1)
    side = drawn.integers(min(height, width) * 55 // 100, min(height, width) + 1)
    top, left = drawn.integers(0, height - side + 1), drawn.integers(0, width - side + 1)
    image = Image.fromarray(pixels).crop((left, top, left + side, top + side))
    smooth = np.asarray(image.resize((96, 96), Image.Resampling.LANCZOS))
    assert np.abs(got.astype(int) - smooth).mean() < 3


def test_crops_cover_the_allowed_sizes() -> None:
    """A full-size crop takes the whole shorter side, so a wider one cannot exist."""
    pixels = load("chelsea")
    whole = crop("chelsea", rng(3), 300, smallest_percent=100)
    assert whole.shape == (300, 300, 3)
    columns = pixels.reshape(-1, 3)
    assert np.isin(whole.reshape(-1, 3)[::97], columns).all()
