"""A teacher without weights: colour statistics plus a texture layer, in integers only.

(a) Colour: each channel of an opponent space takes the style's mean and standard deviation
(E. Reinhard et al., "Color Transfer between Images", 2001). The paper's l-alpha-beta space needs
logarithms, whose last bits differ from one maths library to the next. YCoCg decorrelates almost
as well and is exact in integers, so the teacher's pixels are the same on every machine.

(b) Texture: both pictures are split into a blurred base and a residual. Some of the content's own
fine texture is taken away and the style's is added: each of many overlapping windows picks, among
seeded places in the style, the one whose blurred luma (mean and slopes) is most like its own, and
the windows are blended with integer weights. That is texture transfer after A. Efros and
W. Freeman, "Image Quilting" (2001), without the seam cut. Three limits keep the content's edges
and keep out ghosts of the style's subject: residuals are clipped, patches with unusually strong
residuals are avoided, and the content's strong edges change less.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np

from toolkit.painting import integer

PROTOCOL = "statistics-1"
"""Name of this procedure. Another procedure, or other bytes, needs another name."""

_UNIT = 4096
"""Gains are counted in 4096ths."""


@dataclass(frozen=True)
class Settings:
    """How strongly and how finely a style is transferred; all whole numbers."""

    colour: int = 100
    """Percent of the way from the content's colour statistics to the style's, 0..100."""
    texture: int = 125
    """Percent of the style's texture that is added, 0..200; 0 leaves the texture term out."""
    damping: int = 50
    """Percent of the content's own fine texture that is taken away, 0..100."""
    gain: int = 3
    """A channel's deviation grows or shrinks at most by this factor, 1..8."""
    radius: int = 5
    """Blur radius which parts base and texture, in pixels, 1..16."""
    patch: int = 40
    """Side of a texture window in pixels, 8..256; never larger than either picture."""
    overlap: int = 12
    """Overlap of neighbouring windows in pixels, 0..patch // 2."""
    candidates: int = 48
    """Places in the style among which a window chooses, 1..1024, besides its own place."""
    clip: int = 3
    """Residuals beyond so many times the style's median one count as edges, 1..8."""
    edges: int = 75
    """Percent of the texture transfer that is held back at the content's strong edges, 0..100."""

    def __post_init__(self) -> None:
        limits = {
            "colour": (0, 100),
            "texture": (0, 200),
            "damping": (0, 100),
            "gain": (1, 8),
            "radius": (1, 16),
            "patch": (8, 256),
            "overlap": (0, self.patch // 2),
            "candidates": (1, 1024),
            "clip": (1, 8),
            "edges": (0, 100),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number in {low}..{high}, not {value!r}")


def transfer(
    content: np.ndarray, style: np.ndarray, seed: int, settings: Settings = Settings()
) -> np.ndarray:
    """Transfers the style's colours and texture to the content.

    `content` and `style` are uint8 [H, W, 3] of any sizes from 8 x 8; returns uint8 of the
    content's shape. `seed` (any whole number >= 0) decides where in the style texture is sought.
    Colours of a picture transferred onto itself stay as they are, its texture nearly so.
    """
    integer.check_picture(content, "content")
    integer.check_picture(style, "style")
    if seed < 0:
        raise ValueError(f"seed must not be negative, not {seed}")
    source = integer.to_opponent(style)
    result = _recolour(integer.to_opponent(content), source, settings)
    if settings.texture:
        result = result + _texture(result, source, seed, settings)
    return integer.to_bytes(integer.from_opponent(result))


def _moments(channel: np.ndarray) -> tuple[int, int, int]:
    """Count n, sum, and n times the standard deviation (rounded down) of an int32 array."""
    count = channel.size
    wide = channel.astype(np.int64)
    total, squares = int(wide.sum()), int((wide * wide).sum())
    return count, total, isqrt(count * squares - total * total)


def _recolour(content: np.ndarray, style: np.ndarray, settings: Settings) -> np.ndarray:
    """Content [H, W, 3] with the style's mean and deviation in each opponent channel (int32)."""
    channels = []
    for channel in range(3):
        plane = content[..., channel]
        own_count, own_sum, own_spread = _moments(plane)
        count, total, spread = _moments(style[..., channel])
        gain = _UNIT * spread * own_count // max(own_spread * count, 1)
        gain = min(max(gain, _UNIT // settings.gain), _UNIT * settings.gain)
        # Means in 16ths, so that they are met to a fraction of a level.
        own_mean, mean = 16 * own_sum // own_count, 16 * total // count
        moved = ((16 * plane - own_mean) * gain // _UNIT + mean + 8) >> 4
        channels.append(plane + (moved - plane) * settings.colour // 100)
    return np.stack(channels, axis=-1)


def _texture(content: np.ndarray, style: np.ndarray, seed: int, settings: Settings) -> np.ndarray:
    """What to add to the recoloured content, int32 [H, W, 3]: style's texture, less of its own."""
    base, ground = integer.blur(content, settings.radius), integer.blur(style, settings.radius)
    detail, other = content - base, style - ground
    own = detail.copy()
    patch = min(settings.patch, *content.shape[:2], *style.shape[:2])
    overlap = min(settings.overlap, patch // 2)
    windows = _windows(content.shape[:2], patch, overlap)
    places = _choose(
        (base[..., 0], own[..., 0]), (ground[..., 0], other[..., 0]), windows, patch, seed, settings
    )
    for channel in range(3):
        # Medians, unlike deviations, stay small for sparse residuals, such as the outlines of a
        # style's subject.
        size = max(
            _median_size(own[..., channel]), settings.clip * _median_size(other[..., channel])
        )
        for residual in (own, other):
            plane = residual[..., channel]
            np.clip(plane, -size, size, out=plane)
    woven = _blend(other, windows, places, patch, overlap, content.shape)
    hold = 100 - _edges(detail[..., 0], settings.edges)[..., None]
    change = (woven * settings.texture - own * settings.damping) * hold // 10000
    # The sum of both details must not be harsher than the stronger of the two.
    for channel in range(3):
        sizes = [_mean_size(plane[..., channel]) for plane in (detail, woven, detail + change)]
        gain = min(_UNIT, _UNIT * max(sizes[:2]) // max(sizes[2], 1))
        mixed = (detail[..., channel] + change[..., channel]) * gain
        change[..., channel] = (mixed + _UNIT // 2) // _UNIT - detail[..., channel]
    return change


def _mean_size(plane: np.ndarray) -> int:
    """Mean absolute value of an integer array, rounded down."""
    return int(np.abs(plane).sum(dtype=np.int64)) // plane.size


def _median_size(plane: np.ndarray) -> int:
    """The upper median of an integer array's absolute values."""
    return int(np.sort(np.abs(plane), axis=None)[plane.size // 2])


def _edges(residual: np.ndarray, percent: int) -> np.ndarray:
    """How much of the content's luma residual to hold, int32 [H, W] in 0..`percent`.

    Rises with the local size of the residual, from 1.5 to 4 times its mean over the picture.
    """
    size = integer.box_blur(np.abs(residual), 1)
    mean = max(_mean_size(residual), 4)
    return np.clip((2 * size - 3 * mean) * percent // (5 * mean), 0, percent)


def _windows(shape: tuple[int, int], patch: int, overlap: int) -> np.ndarray:
    """Top left corners int64 [N, 2] of the windows that cover a picture of `shape`."""
    axes = []
    for size in shape:
        starts = [*range(0, size - patch, patch - overlap), size - patch]
        axes.append(np.array(starts, dtype=np.int64))
    rows, columns = np.meshgrid(*axes, indexing="ij")
    return np.stack((rows.ravel(), columns.ravel()), axis=1)


def _describe(sums: np.ndarray, corners: np.ndarray, patch: int) -> np.ndarray:
    """Mean and slopes of a luma plane over windows at `corners` [..., 2], as int64 [..., 3].

    `sums` is the plane's integral image. Slopes are the differences of the halves' means.
    """
    row, column = corners[..., 0], corners[..., 1]
    half = patch // 2

    def mean(top: int, left: int, height: int, width: int) -> np.ndarray:
        y, x = row + top, column + left
        total = sums[y + height, x + width] - sums[y, x + width] - sums[y + height, x] + sums[y, x]
        return total // (height * width)

    return np.stack(
        (
            2 * mean(0, 0, patch, patch),
            mean(0, half, patch, half) - mean(0, 0, patch, half),
            mean(half, 0, half, patch) - mean(0, 0, half, patch),
        ),
        axis=-1,
    )


def _choose(
    content: tuple[np.ndarray, np.ndarray],
    style: tuple[np.ndarray, np.ndarray],
    windows: np.ndarray,
    patch: int,
    seed: int,
    settings: Settings,
) -> np.ndarray:
    """Top left corners int64 [N, 2] in the style of the patch most like each content window.

    `content` and `style` are each the blurred luma and its residual. Patches whose residual is
    much stronger than is usual in the style and than the window's own count as parts of the
    style's subject and are avoided. The window's own place in the style is one of the
    candidates; of equals the first wins.
    """
    count = settings.candidates
    room = [style[0].shape[axis] - patch for axis in (0, 1)]
    reach = [max(content[0].shape[axis] - patch, 1) for axis in (0, 1)]
    rng = np.random.Generator(np.random.Philox(seed))
    candidates = np.empty((len(windows), count + 1, 2), dtype=np.int64)
    for axis in (0, 1):
        candidates[:, 0, axis] = windows[:, axis] * room[axis] // reach[axis]
        candidates[:, 1:, axis] = rng.integers(0, room[axis] + 1, size=(len(windows), count))
    wanted = _describe(_integral(content[0]), windows, patch)
    found = _describe(_integral(style[0]), candidates, patch)
    gap = found - wanted[:, None]
    own = _describe(_integral(np.abs(content[1])), windows, patch)[..., 0]
    other = _describe(_integral(np.abs(style[1])), candidates, patch)[..., 0]
    usual = 3 * _mean_size(style[1])  # The description holds twice the mean: 3 / 2 of it.
    excess = 2 * np.maximum(other - np.maximum(own[:, None], usual), 0)
    best = ((gap * gap).sum(axis=2) + excess * excess).argmin(axis=1)
    return candidates[np.arange(len(windows)), best]


def _integral(plane: np.ndarray) -> np.ndarray:
    """Integral image int64 [H + 1, W + 1] of an integer array [H, W]."""
    sums = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = plane.astype(np.int64).cumsum(axis=0).cumsum(axis=1)
    return sums


def _blend(
    texture: np.ndarray,
    windows: np.ndarray,
    places: np.ndarray,
    patch: int,
    overlap: int,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Weaves the patches of `texture` at `places` into int32 [H, W, 3] at `windows`.

    The weights rise in steps of one over the overlap and are flat in the middle.
    """
    steps = np.arange(patch, dtype=np.int32)
    edge = np.minimum(np.minimum(steps, patch - 1 - steps), overlap) + 1
    weights = (edge[:, None] * edge[None, :])[..., None]
    total = np.zeros(shape, dtype=np.int32)
    share = np.zeros((*shape[:2], 1), dtype=np.int32)
    for (row, column), (y, x) in zip(windows.tolist(), places.tolist(), strict=True):
        target = slice(row, row + patch), slice(column, column + patch)
        total[target] += texture[y : y + patch, x : x + patch] * weights
        share[target] += weights
    return (total + share // 2) // share
