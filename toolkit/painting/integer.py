"""Integer image arithmetic: the part of the renderers where a float would cost determinism.

A sum of floats depends on the order in which a CPU's vector unit takes it, and sines, powers and
square roots depend on the maths library. Whole numbers depend on nothing, so every filter, colour
conversion and grading here works on int32 planes and gives the same values on every machine.
"""

from collections.abc import Sequence

import numpy as np

# round(1024 * sin(k * 360 / 64 degrees)) for k = 0..16, the first quarter of a turn.
_QUARTER = (
    0, 100, 200, 297, 392, 483, 569, 650, 724, 792, 851, 903, 946, 980, 1004, 1019, 1024,
)  # fmt: skip
TURN = 64
"""Angles are counted in 64ths of a turn."""


def sine(angle: int) -> int:
    """1024 times the sine of `angle` 64ths of a turn."""
    quarter, rest = divmod(angle % TURN, 16)
    value = _QUARTER[16 - rest] if quarter % 2 else _QUARTER[rest]
    return -value if quarter >= 2 else value


def cosine(angle: int) -> int:
    """1024 times the cosine of `angle` 64ths of a turn."""
    return sine(angle + 16)


def check_picture(picture: np.ndarray, name: str = "picture") -> None:
    """Raises ValueError unless `picture` is a uint8 array [H, W, 3] with at least 8 x 8 pixels."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        raise ValueError(f"{name} must be a numpy array of uint8")
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"{name} must have the shape [height, width, 3], not {picture.shape}")
    if min(picture.shape[:2]) < 8:
        raise ValueError(f"{name} must have at least 8 x 8 pixels, not {picture.shape[:2]}")


def check_palette(palette: int, names: Sequence[str]) -> None:
    """Raises ValueError unless `palette` is an index into `names`."""
    if not 0 <= palette < len(names):
        raise ValueError(f"palette must lie in 0..{len(names) - 1}, not {palette}")


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Clips any integer array to 0..255 and returns it as uint8."""
    return np.clip(values, 0, 255).astype(np.uint8)


def luma(picture: np.ndarray) -> np.ndarray:
    """Luma 0..255 as int32 [H, W] of an RGB array [H, W, 3] (BT.601 weights in 256ths)."""
    red, green, blue = (picture[..., channel].astype(np.int32) for channel in range(3))
    return (77 * red + 150 * green + 29 * blue + 128) >> 8


def to_opponent(picture: np.ndarray) -> np.ndarray:
    """Four times YCoCg, exact, as int32 [..., 3] of an RGB array [..., 3] (Malvar 2003)."""
    red, green, blue = (picture[..., channel].astype(np.int32) for channel in range(3))
    return np.stack((red + 2 * green + blue, 2 * (red - blue), 2 * green - red - blue), axis=-1)


def from_opponent(opponent: np.ndarray) -> np.ndarray:
    """Inverse of `to_opponent`, rounded, as int32 [..., 3]; values may leave 0..255."""
    light, orange, green = (opponent[..., channel] for channel in range(3))
    rest = light - green
    return np.stack((rest + orange + 2, light + green + 2, rest - orange + 2), axis=-1) >> 2


def box_blur(plane: np.ndarray, radius: int) -> np.ndarray:
    """Rounded mean over (2 radius + 1)^2 pixels of an integer array [H, W] or [H, W, C].

    Borders are repeated. Values may be negative; |value| * (side + 2 radius) must fit in int32.
    """
    result = plane.astype(np.int32)
    if radius <= 0:
        return result
    count = 2 * radius + 1
    for axis in (0, 1):
        width = [(0, 0)] * result.ndim
        width[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(result, width, mode="edge"), axis=axis, dtype=np.int32)
        low = [slice(None)] * result.ndim
        high = list(low)
        low[axis], high[axis] = slice(0, -count), slice(count, None)
        result = (sums[tuple(high)] - sums[tuple(low)] + count // 2) // count
    return result


def blur(plane: np.ndarray, radius: int) -> np.ndarray:
    """Two box blurs in a row: a tent of 4 radius + 1 pixels, close to a Gaussian."""
    return box_blur(box_blur(plane, radius), radius)


def sobel(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal and vertical Sobel derivatives (8 times the slope) of an array [H, W]."""
    padded = np.pad(plane.astype(np.int32), 1, mode="edge")
    across = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return across[:, 2:] - across[:, :-2], down[2:] - down[:-2]


def root(values: np.ndarray) -> np.ndarray:
    """Floor of the square root of an array of integers 0..2^31 - 1, digit by digit."""
    rest = values.astype(np.int64)
    result = np.zeros_like(rest)
    bit = 1 << 30
    while bit:
        trial = result + bit
        fits = rest >= trial
        rest -= np.where(fits, trial, 0)
        result = (result >> 1) + np.where(fits, bit, 0)
        bit >>= 2
    return result


def ramp(anchors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Table int32 [256, 3] which runs in straight lines through evenly spaced RGB anchors."""
    points = np.array(anchors, dtype=np.int32)
    position = np.arange(256, dtype=np.int32) * (len(points) - 1)
    index = np.minimum(position // 255, len(points) - 2)
    part = (position - index * 255)[:, None]
    return (points[index] * (255 - part) + points[index + 1] * part + 127) // 255


def stretch(plane: np.ndarray) -> np.ndarray:
    """Contrast stretch of a luma plane so that its 2nd..98th percentile span 0..255 (int32).

    The gain stays at or below 3, so that a plain surface is not blown up into noise; the middle
    of such a plane keeps its tone.
    """
    ordered = np.sort(plane, axis=None)
    low = int(ordered[len(ordered) * 2 // 100])
    high = int(ordered[len(ordered) * 98 // 100])
    if high - low < 85:
        middle = (high + low) // 2
        low = middle - middle // 3
        high = low + 85
    return np.clip((plane.astype(np.int32) - low) * 255 // (high - low), 0, 255)


def grade(picture: np.ndarray, anchors: Sequence[tuple[int, int, int]], chroma: int) -> np.ndarray:
    """Colour grading: the ramp's colour at each luma plus `chroma` percent of the own chroma.

    Takes uint8 [H, W, 3] and returns int32 of the same shape in 0..255. The luma is stretched
    first, so that every picture uses the whole ramp: it gives a palette its mood, while the
    chroma keeps things apart.
    """
    light = luma(picture)
    own = picture.astype(np.int32) - light[..., None]
    return np.clip(ramp(anchors)[stretch(light)] + own * chroma // 100, 0, 255)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], radius: int, amplitude: int
) -> np.ndarray:
    """Slowly varying noise int32 [H, W] in about -amplitude..amplitude, wavelength ~ 6 radius.

    Blurred white noise shrinks by about its window's side; the gain puts that back, the clip
    keeps the promise.
    """
    white = rng.integers(-256, 257, size=shape, dtype=np.int32) * 64
    gain = (2 * radius + 1) * amplitude
    return np.clip(blur(white, radius) * gain // (256 * 64), -amplitude, amplitude)
