"""Flat shapes in CSS colours, and photographs in two tones: what a small model learns colours from.

In integer arithmetic, so that the bytes are the same everywhere.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.painting.circles import COLOUR_NAMES, rgb

SHAPES = ("circle", "square", "triangle", "ring", "cross", "band")


@dataclass(frozen=True)
class Drawing:
    """uint8 [S,S,3] and what it shows."""

    pixels: np.ndarray
    caption: str


def draw(rng: np.random.Generator, size: int) -> Drawing:
    """One shape in one colour on a ground of another, as Fill50K's prompts say it."""
    kind = SHAPES[int(rng.integers(len(SHAPES)))]
    name, ground = two_colours(rng)
    radius = int(rng.integers(size * 12 // 100, size * 45 // 100))
    x, y = (int(v) for v in rng.integers(size * 22 // 100, size * 79 // 100, size=2))
    across, down = np.arange(size)[None, :] - x, np.arange(size)[:, None] - y
    inside = _inside(kind, across, down, radius)
    pixels = np.where(inside[..., None], rgb(name), rgb(ground)).astype(np.uint8)
    return Drawing(pixels, f"{name} {kind} with {ground} background")


def toned(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A picture, uint8 [H,W,3], with its shadows in one colour and its lights in another, and some
    of its own colours left; and the words for it."""
    dark, light = sorted(two_colours(rng), key=lambda name: sum(rgb(name)))
    values = picture.astype(np.int32)
    luma = (77 * values[..., :1] + 150 * values[..., 1:2] + 29 * values[..., 2:]) >> 8
    ramp = (np.array(rgb(dark)) * (255 - luma) + np.array(rgb(light)) * luma) // 255
    own = int(rng.integers(0, 60))  # percent of the chroma that stays
    found = ramp + (values - luma) * own // 100
    return np.clip(found, 0, 255).astype(np.uint8), f"in {dark} and {light}"


def two_colours(rng: np.random.Generator) -> tuple[str, str]:
    """Names of two colours that are not the same by another name."""
    drawn = [COLOUR_NAMES[i] for i in rng.permutation(len(COLOUR_NAMES))[:3]]
    return drawn[0], next(other for other in drawn[1:] if rgb(other) != rgb(drawn[0]))


def _inside(kind: str, across: np.ndarray, down: np.ndarray, radius: int) -> np.ndarray:
    """bool [S,S]. across, down: of each pixel from the centre."""
    squared = across**2 + down**2
    if kind == "circle":
        return squared <= radius**2
    if kind == "ring":
        return (squared <= radius**2) & (squared >= (radius * 6 // 10) ** 2)
    if kind == "square":
        return (abs(across) <= radius) & (abs(down) <= radius)
    if kind == "cross":
        thin = max(radius // 3, 1)
        long = (abs(across) <= radius) & (abs(down) <= radius)
        return long & ((abs(across) <= thin) | (abs(down) <= thin))
    if kind == "band":
        return (abs(down) <= radius // 2) & (abs(across) >= 0)
    return (down <= radius) & (2 * abs(across) <= down + radius)  # a triangle that stands
