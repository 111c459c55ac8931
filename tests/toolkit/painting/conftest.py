"""Photographs from scikit-image's wheel as test pictures."""

import importlib.resources
import io

import numpy as np
import pytest
from PIL import Image

# File, left, top and side of a square crop.
_CROPS = {
    "astronaut": ("astronaut.png", 40, 0, 400),
    "cat": ("chelsea.png", 60, 0, 300),
    "coffee": ("coffee.png", 120, 20, 380),
    "motorcycle": ("motorcycle_left.png", 150, 50, 420),
}


@pytest.fixture(scope="session")
def photographs() -> dict[str, np.ndarray]:
    """Four photographs as uint8 [128, 128, 3]."""
    pictures = {}
    for name, (file, left, top, side) in _CROPS.items():
        data = (importlib.resources.files("skimage") / "data" / file).read_bytes()
        square = Image.open(io.BytesIO(data)).convert("RGB")
        square = square.crop((left, top, left + side, top + side))
        pictures[name] = np.asarray(square.resize((128, 128), Image.Resampling.BOX))
    return pictures
