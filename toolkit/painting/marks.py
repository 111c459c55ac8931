"""Marks on a canvas: discs and strokes by dilation of an order map, and Poisson-disk points.

Painting overlapping round marks one after another is the same as writing each mark's order
number on its centre line and giving every pixel the highest number within the brush radius: a
grey dilation with a disc. It costs a few array maxima per radius, however many marks there are,
and needs no rasteriser whose rounding might change from one release to the next.
"""

from math import isqrt

import numpy as np


def dilate(order: np.ndarray, radius: int) -> np.ndarray:
    """Maximum of an array [H, W] of numbers >= 0 over a disc of `radius` pixels (0: the same)."""
    height, width = order.shape
    # half[dy]: how far the disc reaches sideways `dy` rows from its centre.
    half = [isqrt(radius * radius + radius - dy * dy) for dy in range(radius + 1)]
    row = np.pad(order, radius)
    result = np.zeros_like(order)
    reach = 0
    for dy in range(radius, -1, -1):
        while reach < half[dy]:
            wider = row.copy()
            np.maximum(wider[:, 1:], row[:, :-1], out=wider[:, 1:])
            np.maximum(wider[:, :-1], row[:, 1:], out=wider[:, :-1])
            row = wider
            reach += 1
        for start in {radius - dy, radius + dy}:
            window = row[start : start + height, radius : radius + width]
            np.maximum(result, window, out=result)
    return result


def rings(order: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Dilation by `radius`, and for each pixel how far (0..radius) its mark's centre line is.

    Returns two arrays [H, W]; where no mark reaches, the first is 0 and the second radius + 1.
    """
    top = dilate(order, radius)
    distance = np.zeros_like(order)
    for inner in range(radius):
        distance += dilate(order, inner) != top
    return top, np.where(top == 0, radius + 1, distance)


def poisson_points(
    rng: np.random.Generator, shape: tuple[int, int], radius: int, rounds: int = 4
) -> np.ndarray:
    """Boolean map [H, W] of points which lie more than `radius` pixels apart and fill the area.

    Each round is Matern's second hard-core process: every free pixel draws a priority, those
    which hold the highest one within the radius become points and close their surroundings.
    After a few rounds hardly a gap is left (dart throwing, Cook 1986).
    """
    free = np.ones(shape, dtype=bool)
    points = np.zeros(shape, dtype=bool)
    size = shape[0] * shape[1]
    for _ in range(rounds):
        priority = (rng.permutation(size).astype(np.int32) + 1).reshape(shape) * free
        chosen = (dilate(priority, radius) == priority) & free
        points |= chosen
        free &= dilate(chosen.astype(np.int32), radius) == 0
    return points
