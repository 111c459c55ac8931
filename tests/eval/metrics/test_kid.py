"""KID of sets of any sizes: unbiased, and never more than blocks of features in memory."""

import numpy as np
import pytest

from eval.kernel_distance import kernel_distance
from eval.metrics.kid import BLOCK, distance


class Watched:
    """Features in memory that remember how many were asked for at once."""

    def __init__(self, features: np.ndarray):
        self.features, self.largest = features.astype(np.float32), 0
        self.count, self.dim = features.shape

    def slice(self, start: int, stop: int) -> np.ndarray:
        self.largest = max(self.largest, stop - start)
        return self.features[start:stop]


def drawn(rng: np.random.Generator, count: int, mean: float = 0.0) -> Watched:
    return Watched(rng.normal(mean, 1.0, size=(count, 4)))


@pytest.mark.parametrize(
    ("m", "n"), [(40, 60), (BLOCK, 6), (2500, 6), (6, 2500), (5200, 11), (5300, 5200), (5300, 40)]
)
def test_no_side_is_held_as_a_whole(m: int, n: int) -> None:
    rng = np.random.default_rng(m + n)
    outputs, references = drawn(rng, m), drawn(rng, n, 0.7)
    found = distance(outputs, references, {})
    assert max(outputs.largest, references.largest) <= BLOCK
    whole = kernel_distance(outputs.features, references.features)
    assert found.value == pytest.approx(whole, rel=0.02)
    assert (found.low is not None) == (min(m, n) > 5000)


def test_a_small_side_does_not_bias_it() -> None:
    """Of one distribution it is 0 on average, within four standard errors."""
    rng = np.random.default_rng(0)
    values = [distance(drawn(rng, 1400), drawn(rng, 3), {}).value for _ in range(150)]
    assert abs(np.mean(values)) < 4 * np.std(values) / len(values) ** 0.5
    shifted = [distance(drawn(rng, 1400, 0.5), drawn(rng, 3), {}).value for _ in range(150)]
    assert np.mean(shifted) > 4 * np.std(shifted) / len(shifted) ** 0.5
