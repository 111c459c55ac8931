"""Pointillism: dots of divided colour on a light canvas.

After the practice of Seurat and Signac (O. Rood, "Modern Chromatics", 1879, was their source):
a surface's colour is divided into dots of purer neighbouring hues, with a few dots of the
complementary one, and the eye mixes them. The dots sit on Poisson-disk points in three sizes,
large ones below and small ones, drawn mostly where the picture has detail, on top. Everything is
drawn at twice the size and averaged down, which rounds the dots.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.painting import integer, marks

PALETTES = ("noon harbour", "orange evening", "spring orchard", "violet twilight")

_GRADES = (
    (((24, 40, 110), (30, 104, 178), (92, 164, 176), (232, 200, 130), (255, 246, 214)), 120),
    (((70, 24, 84), (168, 44, 62), (228, 106, 32), (250, 178, 54), (255, 236, 170)), 110),
    (((16, 60, 70), (34, 122, 66), (122, 172, 52), (226, 196, 92), (250, 226, 216)), 120),
    (((38, 22, 96), (92, 56, 158), (164, 98, 176), (226, 152, 176), (252, 222, 200)), 110),
)
_CANVAS = ((244, 238, 222), (248, 234, 206), (246, 242, 220), (240, 232, 236))


@dataclass(frozen=True)
class Dots:
    """One size of dots: radius in half pixels, least distance between centres in pixels, and the
    least local detail (0..255) for a dot to be set."""

    radius: int
    distance: int
    detail: int


SIZES = (Dots(6, 5, 0), Dots(5, 5, 5), Dots(3, 3, 13))
_HUES = 5  # The hue turns by up to so many 64ths of a full turn to either side.


def paint(picture: np.ndarray, rng: np.random.Generator, palette: int) -> np.ndarray:
    """Sets uint8 [H, W, 3] in dots; `palette` 0..3 names a row of PALETTES."""
    integer.check_picture(picture)
    integer.check_palette(palette, PALETTES)
    target = integer.box_blur(integer.grade(picture, *_GRADES[palette]), 1)
    slope_x, slope_y = integer.sobel(integer.luma(target))
    detail = integer.blur(np.minimum((np.abs(slope_x) + np.abs(slope_y)) >> 2, 255), 2)

    height, width = target.shape[:2]
    canvas = np.empty((2 * height, 2 * width, 3), dtype=np.int32)
    canvas[:] = _CANVAS[palette]
    for dots in SIZES:
        points = marks.poisson_points(rng, (height, width), dots.distance, rounds=3)
        rows, columns = np.nonzero(points & (detail >= dots.detail))
        colours = _divide(target[rows, columns], rng)
        # The order number doubles as the dot's row in the table of colours; row 0 is no dot.
        rank = rng.permutation(len(rows)).astype(np.int32) + 1
        pots = np.zeros((len(rows) + 1, 3), dtype=np.int32)
        pots[rank] = colours
        order = np.zeros(canvas.shape[:2], dtype=np.int32)
        half = rng.integers(0, 2, size=(2, len(rows)))
        order[2 * rows + half[0], 2 * columns + half[1]] = rank
        order = marks.dilate(order, dots.radius)
        np.copyto(canvas, pots[order], where=(order > 0)[..., None])
    pairs = canvas.reshape(height, 2, width, 2, 3)
    return integer.to_bytes((pairs.sum(axis=(1, 3)) + 2) >> 2)


def _divide(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Divided colours int32 [N, 3] around RGB colours [N, 3]: hue turned, chroma raised."""
    opponent = integer.to_opponent(colours)
    count = len(colours)
    turn = rng.integers(-_HUES, _HUES + 1, size=count)
    # One dot in twelve takes the complementary hue, half as strong.
    other = rng.integers(0, 12, size=count) == 0
    sines = np.array([integer.sine(k) for k in range(-_HUES, _HUES + 1)], dtype=np.int32)
    cosines = np.array([integer.cosine(k) for k in range(-_HUES, _HUES + 1)], dtype=np.int32)
    sine, cosine = sines[turn + _HUES], cosines[turn + _HUES]
    gain = np.where(other, -60, 128)
    orange, green = opponent[:, 1], opponent[:, 2]
    light = opponent[:, 0] + 4 * rng.integers(-20, 21, size=count)
    # Chroma also gets a little of its own, so that greys break up into blue and orange.
    own = 4 * rng.integers(-14, 15, size=(2, count))
    mixed = np.stack(
        (
            light,
            (orange * cosine - green * sine) * gain // (100 * 1024) + own[0],
            (orange * sine + green * cosine) * gain // (100 * 1024) + own[1],
        ),
        axis=-1,
    )
    return np.clip(integer.from_opponent(mixed), 0, 255).astype(np.int32)
