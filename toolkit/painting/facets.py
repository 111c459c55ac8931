"""Cubism: angular facets, each with its own flat or linear shade, in muted earths and greys.

The facets are Voronoi cells (compare P. Haeberli, "Paint by Numbers", 1990) around seeds on a
jittered grid, denser along the picture's edges, under a metric that stretches them in one
direction. A few long cuts run across them and part the picture into large planes. Each plane
shows the picture from a slightly shifted viewpoint and in a tone of its own; each facet takes its
mean colour there, is shaded from one side to the other and is parted from its neighbours by a
dark seam, as in the analytic phase of Braque and Picasso.
"""

import numpy as np

from toolkit.painting import integer

PALETTES = ("ochre", "slate blue", "grey olive", "burnt rose")

_GRADES = (
    (((30, 22, 18), (92, 66, 42), (158, 120, 74), (206, 176, 122), (240, 224, 188)), 26),
    (((18, 22, 32), (52, 68, 92), (104, 126, 148), (166, 180, 186), (230, 230, 218)), 30),
    (((22, 26, 22), (66, 74, 56), (118, 124, 96), (178, 178, 144), (232, 226, 198)), 26),
    (((34, 18, 24), (104, 52, 52), (164, 100, 88), (208, 164, 144), (242, 220, 206)), 26),
)
CELL = 26
"""Side of the seed grid's cells, in pixels."""
_EXTRA = 24  # Further seeds, per grid cell, which only go to places with strong edges.
SEAM = 58
"""How much darker the seams are than the facets."""
_CUTS = 6  # Long straight cuts, which part the picture into large planes.
_REACH = 44  # A seed's window: every pixel has a seed of its own grid cell within it.


def paint(picture: np.ndarray, rng: np.random.Generator, palette: int) -> np.ndarray:
    """Breaks uint8 [H, W, 3] into facets; `palette` 0..3 names a row of PALETTES."""
    return paint_with_labels(picture, rng, palette)[0]


def paint_with_labels(
    picture: np.ndarray, rng: np.random.Generator, palette: int
) -> tuple[np.ndarray, np.ndarray]:
    """The painting and the number of the facet each pixel belongs to, int32 [H, W]."""
    integer.check_picture(picture)
    integer.check_palette(palette, PALETTES)
    target = integer.grade(picture, *_GRADES[palette])
    height, width = target.shape[:2]
    rows, columns = _seeds(integer.luma(target), rng)
    angle = int(rng.integers(0, integer.TURN))
    cells = _voronoi(rows, columns, angle, height, width)
    planes = _planes(rng, angle, height, width)
    keys, labels = np.unique((cells << _CUTS) + planes, return_inverse=True)
    labels = labels.reshape(height, width).astype(np.int32)
    count = len(keys)
    rows, columns = rows[keys >> _CUTS], columns[keys >> _CUTS]

    # Each plane sees the picture from its own viewpoint, a few pixels off, and in its own tone.
    plane = keys & ((1 << _CUTS) - 1)
    shift = rng.integers(-3, 4, size=(2, 1 << _CUTS))[:, plane]
    tone = rng.integers(-16, 17, size=(1 << _CUTS, 1), dtype=np.int32)[plane]
    y, x = np.mgrid[0:height, 0:width].astype(np.int32)
    seen = target[
        np.clip(y + shift[0][labels], 0, height - 1), np.clip(x + shift[1][labels], 0, width - 1)
    ]
    sizes = np.bincount(labels.ravel(), minlength=count)
    means = np.zeros((count, 3), dtype=np.int64)
    for channel in range(3):
        np.add.at(means[:, channel], labels.ravel(), seen[..., channel].ravel())
    means = (means // sizes[:, None]).astype(np.int32) + tone
    means += rng.integers(-13, 14, size=(count, 1), dtype=np.int32)

    # Two facets in three are shaded along a direction, light at one end and dark at the other.
    angles = rng.integers(0, integer.TURN, size=count)
    slope = rng.integers(10, 33, size=count) * (rng.integers(0, 3, size=count) > 0)
    sine = np.array([integer.sine(k) for k in range(integer.TURN)], dtype=np.int32)[angles]
    cosine = np.array([integer.cosine(k) for k in range(integer.TURN)], dtype=np.int32)[angles]
    along = (x - columns[labels]) * (cosine * slope)[labels]
    along += (y - rows[labels]) * (sine * slope)[labels]
    shade = np.clip(along // (1024 * 8), -36, 36)
    painted = means[labels] + shade[..., None]
    painted -= (seams(labels) * SEAM)[..., None]
    return integer.to_bytes(painted), labels


def seams(labels: np.ndarray) -> np.ndarray:
    """Boolean [H, W]: the pixels whose right or lower neighbour lies in another facet."""
    result = np.zeros(labels.shape, dtype=bool)
    result[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    result[:-1] |= labels[:-1] != labels[1:]
    return result


def _seeds(light: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the seeds: one in each grid cell, more where edges are strong."""
    height, width = light.shape
    top, left = np.mgrid[0:height:CELL, 0:width:CELL]
    top, left = top.ravel(), left.ravel()
    rows = top + rng.integers(0, CELL, size=len(top)) % np.minimum(CELL, height - top)
    columns = left + rng.integers(0, CELL, size=len(left)) % np.minimum(CELL, width - left)
    slope_x, slope_y = integer.sobel(integer.blur(light, 1))
    edges = integer.blur(np.abs(slope_x) + np.abs(slope_y), 1)
    extra = _EXTRA * len(top)
    more_rows = rng.integers(0, height, size=extra)
    more_columns = rng.integers(0, width, size=extra)
    kept = edges[more_rows, more_columns] > rng.integers(50, 600, size=extra)
    return (
        np.concatenate((rows, more_rows[kept])).astype(np.int32),
        np.concatenate((columns, more_columns[kept])).astype(np.int32),
    )


def _voronoi(
    rows: np.ndarray, columns: np.ndarray, angle: int, height: int, width: int
) -> np.ndarray:
    """Number of the nearest seed, int32 [H, W]; cells are stretched along `angle`.

    Each seed claims pixels only in a window around it, which contains its whole grid cell, so
    the work grows with the number of seeds and not with its product with the picture's area.
    """
    count = len(rows)
    best = np.full((height, width), np.iinfo(np.int64).max, dtype=np.int64)
    offsets = np.arange(-_REACH, _REACH + 1, dtype=np.int64)
    down, right = offsets[:, None], offsets[None, :]
    sine, cosine = integer.sine(angle), integer.cosine(angle)
    along, across = right * cosine + down * sine, down * cosine - right * sine
    distance = ((along * along + 3 * across * across) >> 8) * count
    for number in range(count):
        y, x = int(rows[number]), int(columns[number])
        y0, y1 = max(0, y - _REACH), min(height, y + _REACH + 1)
        x0, x1 = max(0, x - _REACH), min(width, x + _REACH + 1)
        window = best[y0:y1, x0:x1]
        key = distance[y0 - y + _REACH : y1 - y + _REACH, x0 - x + _REACH : x1 - x + _REACH]
        np.minimum(window, key + number, out=window)
    return (best % count).astype(np.int32)


def _planes(rng: np.random.Generator, angle: int, height: int, width: int) -> np.ndarray:
    """Number of the large plane each pixel lies in, int32 [H, W]: long straight cuts.

    The cuts fall into two families of directions and run right across the picture.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.int32)
    planes = np.zeros((height, width), dtype=np.int32)
    for cut in range(_CUTS):
        turn = angle + (16 if cut % 2 else 0) + int(rng.integers(-4, 5))
        row = int(rng.integers(0, height))
        column = int(rng.integers(0, width))
        side = (x - column) * integer.sine(turn) - (y - row) * integer.cosine(turn) > 0
        planes += side.astype(np.int32) << cut
    return planes
