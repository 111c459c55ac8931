"""Dilation with discs and Poisson-disk points, against direct computations."""

import numpy as np
import pytest

from toolkit.painting import marks


def _disc(radius: int) -> list[tuple[int, int]]:
    return [
        (dy, dx)
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
        if dx * dx + dy * dy <= radius * radius + radius
    ]


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_dilate_is_the_maximum_over_a_disc(radius: int) -> None:
    rng = np.random.Generator(np.random.Philox(radius))
    order = rng.integers(0, 50, size=(19, 23), dtype=np.int32) * (rng.integers(0, 9, (19, 23)) == 0)
    padded = np.pad(order, radius)
    expected = np.max(
        [padded[radius + dy : radius + dy + 19, radius + dx : radius + dx + 23]
         for dy, dx in _disc(radius)],
        axis=0,
    )  # fmt: skip
    np.testing.assert_array_equal(marks.dilate(order, radius), expected)


def test_later_marks_cover_earlier_ones_and_rings_measure_the_distance() -> None:
    order = np.zeros((21, 21), dtype=np.int32)
    order[10, 6], order[10, 12] = 1, 2
    top, distance = marks.rings(order, 4)
    assert top[10, 9] == 2  # Both reach it, the later one is on top.
    assert top[10, 7] == 1
    assert distance[10, 12] == 0
    assert distance[10, 14] == 2
    assert top[0, 0] == 0
    assert distance[0, 0] == 5


def test_poisson_points_keep_their_distance_and_leave_few_gaps() -> None:
    rng = np.random.Generator(np.random.Philox(3))
    points = marks.poisson_points(rng, (80, 70), 5)
    rows, columns = np.nonzero(points)
    gaps = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    np.fill_diagonal(gaps, 10**6)
    assert gaps.min() > 5 * 5
    covered = marks.dilate(points.astype(np.int32), 5) > 0
    assert covered.mean() > 0.98
