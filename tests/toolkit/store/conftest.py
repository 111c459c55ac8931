"""One picture for the tests of pictures."""

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="module")
def pixels(make_picture: Callable[..., np.ndarray]) -> np.ndarray:
    """A smooth picture, wider than high and unlike each of its turns."""
    return make_picture(1, 64, 40)
