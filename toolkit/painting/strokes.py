"""Impressionism: curved brush strokes in several sizes, coarse to fine.

After A. Hertzmann, "Painterly Rendering with Curved Brush Strokes of Multiple Sizes" (1998).
Each layer compares the canvas with the picture blurred to the brush's size. Where a grid cell's
error is above a threshold, a stroke starts at the cell's worst pixel, runs at right angles to the
luma gradient and ends where the picture has left the stroke's colour. All strokes of a layer are
traced side by side in 1/256 pixels; `marks.rings` then paints them in a random order. The
distance to a stroke's centre line gives it bristles and a raised edge, so that the brush shows.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.painting import integer, marks

PALETTES = ("warm dusk", "cool morning", "green garden", "rose and violet")

# Ramps from shadow to light, and how much of the picture's own chroma stays, in percent.
_GRADES = (
    (((44, 30, 66), (128, 52, 62), (214, 112, 54), (246, 186, 92), (255, 238, 184)), 105),
    (((22, 38, 78), (44, 88, 138), (98, 150, 184), (172, 208, 216), (244, 246, 232)), 95),
    (((18, 46, 40), (40, 94, 52), (104, 146, 58), (180, 196, 94), (248, 244, 190)), 100),
    (((52, 28, 84), (118, 62, 140), (190, 106, 162), (234, 166, 182), (255, 232, 222)), 95),
)


@dataclass(frozen=True)
class Brush:
    """One layer. `radius` in pixels; a stroke starts where the cell's mean error (summed over
    the three channels) exceeds `threshold`; it has `shortest`..`longest` steps of one radius."""

    radius: int
    threshold: int
    shortest: int
    longest: int


BRUSHES = (Brush(7, 0, 4, 7), Brush(4, 62, 3, 8), Brush(2, 92, 3, 8))
_CURVATURE = 160  # 256ths of the new direction in the mix with the last one.


def paint(picture: np.ndarray, rng: np.random.Generator, palette: int) -> np.ndarray:
    """Paints uint8 [H, W, 3] in strokes; `palette` 0..3 names a row of PALETTES."""
    return layers(picture, rng, palette)[-1]


def graded(picture: np.ndarray, palette: int) -> np.ndarray:
    """The coloured picture int32 [H, W, 3] which the strokes of `palette` aim at."""
    integer.check_picture(picture)
    integer.check_palette(palette, PALETTES)
    anchors, chroma = _GRADES[palette]
    return integer.grade(picture, anchors, chroma)


def layers(picture: np.ndarray, rng: np.random.Generator, palette: int) -> list[np.ndarray]:
    """The canvas uint8 [H, W, 3] after each brush, coarse to fine; the last is the painting."""
    target = graded(picture, palette)
    ground = np.array(_GRADES[palette][0][2], dtype=np.int32)
    canvas = np.broadcast_to(ground, target.shape).copy()
    states = []
    for brush in BRUSHES:
        reference = integer.box_blur(target, max(1, brush.radius // 2))
        canvas = _layer(canvas, reference, brush, rng)
        states.append(integer.to_bytes(canvas))
    return states


def _layer(
    canvas: np.ndarray, reference: np.ndarray, brush: Brush, rng: np.random.Generator
) -> np.ndarray:
    """Paints one brush's strokes over `canvas`; both arrays are int32 [H, W, 3]."""
    radius = brush.radius
    error = np.abs(canvas - reference).sum(axis=2)
    rows, columns = _starts(error, radius, brush.threshold)
    count = len(rows)
    if count == 0:
        return canvas
    colours = reference[rows, columns]
    rank = (rng.permutation(count) + 1).astype(np.int32)
    order = _trace(rows, columns, colours, rank, error, reference, brush)
    top, distance = marks.rings(order, radius)

    # One row of paint per stroke (row 0 is the untouched canvas): colour with jitter, bristles.
    jitter = rng.integers(-9, 10, size=(count, 3)) + rng.integers(-16, 17, size=(count, 1))
    pots = np.zeros((count + 1, 3), dtype=np.int32)
    pots[rank] = np.clip(colours + jitter, 0, 255)
    bristles = rng.integers(-14, 15, size=(count + 1, radius + 2), dtype=np.int32)
    shade = bristles[top, distance]
    # Raised paint: thickest at the centre line, lit from the upper left.
    height = np.pad(np.where(top > 0, (radius + 1 - distance) * 24 // radius, 0), 1, mode="edge")
    relief = height[1:-1, 1:-1] - height[:-2, :-2]
    painted = pots[top] + (shade + np.clip(relief, -26, 26))[..., None]
    return np.where((top > 0)[..., None], painted, canvas)


def _starts(error: np.ndarray, cell: int, threshold: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the worst pixel in every grid cell whose mean error is large enough."""
    height, width = error.shape
    padded = np.pad(error, ((0, -height % cell), (0, -width % cell)), mode="constant")
    tall, wide = padded.shape[0] // cell, padded.shape[1] // cell
    cells = padded.reshape(tall, cell, wide, cell).transpose(0, 2, 1, 3).reshape(tall, wide, -1)
    # The padding has error 0, so at worst it stands for a cell that starts nothing.
    wanted_rows, wanted_columns = np.nonzero(cells.sum(axis=2) > threshold * cell * cell)
    worst = cells.argmax(axis=2)[wanted_rows, wanted_columns]
    return wanted_rows * cell + worst // cell, wanted_columns * cell + worst % cell


def _trace(
    rows: np.ndarray,
    columns: np.ndarray,
    colours: np.ndarray,
    rank: np.ndarray,
    error: np.ndarray,
    reference: np.ndarray,
    brush: Brush,
) -> np.ndarray:
    """Traces all strokes and returns the map int32 [H, W] of the highest rank on each pixel."""
    height, width = error.shape
    slope_x, slope_y = integer.sobel(integer.luma(reference))
    order = np.zeros((height, width), dtype=np.int32)
    np.maximum.at(order, (rows, columns), rank)
    y, x = rows * 256 + 128, columns * 256 + 128
    last_y, last_x = np.zeros_like(y), np.zeros_like(x)
    colours, rank = colours.copy(), rank.copy()
    for step in range(brush.longest):
        pixel = y >> 8, x >> 8
        gx, gy = slope_x[pixel].astype(np.int64), slope_y[pixel].astype(np.int64)
        length = integer.root(gx * gx + gy * gy)
        go = (length > 0) | (step > 0)
        if step >= brush.shortest:
            drift = np.abs(reference[pixel] - colours).sum(axis=1)
            go &= drift <= error[pixel]
        if not go.any():
            break
        y, x, last_y, last_x, gx, gy, length, colours, rank = (
            array[go] for array in (y, x, last_y, last_x, gx, gy, length, colours, rank)
        )
        # The normal of the gradient, turned so that the stroke does not double back.
        length = np.maximum(length, 1)
        dx, dy = -gy * 256 // length, gx * 256 // length
        flip = np.where(dx * last_x + dy * last_y < 0, -1, 1)
        keep = 256 - _CURVATURE if step else 0
        dx = _CURVATURE * flip * dx + keep * last_x
        dy = _CURVATURE * flip * dy + keep * last_y
        norm = np.maximum(integer.root((dx >> 8) ** 2 + (dy >> 8) ** 2), 1)
        last_x, last_y = dx // norm, dy // norm
        # One pixel at a time along the step, so that the centre line has no gaps.
        for _ in range(brush.radius):
            y = np.clip(y + last_y, 0, height * 256 - 1)
            x = np.clip(x + last_x, 0, width * 256 - 1)
            np.maximum.at(order, (y >> 8, x >> 8), rank)
    return order
