"""The photographs that ship inside scikit-image's wheel, and crops of them.

They are read as files, so nothing is downloaded and scikit-image's code is not even loaded. Their
origins and licences are stated in scikit-image's documentation of `skimage.data`.
"""

import functools
import importlib.resources
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from toolkit.core.errors import UserError


@dataclass(frozen=True)
class Photograph:
    """One photograph. genre in WikiArt's words; held_out: its crops form the validation split;
    paintable: whether a painting of it still shows what it is."""

    name: str
    file: str
    caption: str
    genre: str
    held_out: bool = False
    paintable: bool = True


PHOTOGRAPHS = (
    Photograph("astronaut", "astronaut.png",
               "an astronaut in an orange space suit smiles in front of a flag", "portrait"),
    Photograph("rocket", "rocket.jpg",
               "a white rocket on its launch pad between tall steel towers", "cityscape"),
    Photograph("motorcycle", "motorcycle_left.png",
               "a motorcycle parked in a cluttered workshop", "still_life"),
    Photograph("cameraman", "camera.png",
               "a man in a dark coat looks through a camera on a tripod", "portrait"),
    Photograph("coins", "coins.png",
               "rows of ancient coins on a dark cloth", "still_life"),
    Photograph("galaxies", "hubble_deep_field.jpg",
               "coloured galaxies scattered over the black sky", "landscape",
               paintable=False),
    Photograph("bricks", "brick.png",
               "a wall of pale bricks", "cityscape", paintable=False),
    Photograph("workshop", "motorcycle_right.png",
               "tools and a motorcycle in a garage seen from the right", "still_life"),
    Photograph("chelsea", "chelsea.png",
               "a tabby cat looks up, its face seen from very near", "animal_painting", True),
    Photograph("coffee", "coffee.png",
               "a cup of espresso with a spoon on a wooden table", "still_life", True),
)  # fmt: skip


@functools.lru_cache(maxsize=4)
def load(name: str) -> np.ndarray:
    """Pixels of a photograph: uint8 [H,W,3]. Raises UserError when the wheel lacks the file."""
    photograph = next(p for p in PHOTOGRAPHS if p.name == name)
    path = importlib.resources.files("skimage") / "data" / photograph.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"scikit-image's photograph {photograph.file} is missing ({error.strerror}): "
            "install the scikit-image wheel again"
        ) from None
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def crop(name: str, rng: np.random.Generator, size: int, smallest_percent: int = 55) -> np.ndarray:
    """A random square crop, resized: uint8 [size,size,3].

    Its side is between `smallest_percent` and 100 percent of the photograph's shorter side. Only
    integers are drawn and Pillow resizes in fixed point, so the bytes are the same everywhere.
    """
    pixels = load(name)
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    side = int(rng.integers(shorter * smallest_percent // 100, shorter + 1))
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
