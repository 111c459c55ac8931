"""Northern Renaissance: engraving on tinted paper.

After the engravers' hatching of Schongauer and Duerer (compare G. Winkenbach and D. Salesin,
"Computer-Generated Pen-and-Ink Illustration", 1994): tone comes from layers of parallel lines at
several angles. The first covers all but the lights; each further layer crosses it only where the
picture is darker. Lines swell with darkness, bend with the modelling of the form and waver a
little. Strong edges get a contour. One palette heightens the lights with white on blue paper.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.painting import integer

PALETTES = ("black on ivory", "sepia on buff", "sanguine on cream", "white on blue")


@dataclass(frozen=True)
class Sheet:
    """Paper and ink as RGB, and the white for the lights or None."""

    paper: tuple[int, int, int]
    ink: tuple[int, int, int]
    white: tuple[int, int, int] | None


SHEETS = (
    Sheet((242, 234, 212), (26, 24, 26), None),
    Sheet((222, 190, 140), (74, 40, 18), None),
    Sheet((246, 226, 206), (168, 52, 32), None),
    Sheet((104, 132, 168), (20, 28, 56), (246, 246, 238)),
)


@dataclass(frozen=True)
class Lines:
    """One layer: `angle` in 64ths of a turn, `period` between lines in 16ths of a pixel, and the
    tone 0..255 from which on darker places are hatched."""

    angle: int
    period: int
    tone: int


LAYERS = (Lines(7, 76, 222), Lines(25, 80, 128), Lines(15, 72, 70), Lines(0, 64, 28))
_HEIGHTENING = Lines(23, 72, 100)  # Its tone counts from white.


def paint(picture: np.ndarray, rng: np.random.Generator, palette: int) -> np.ndarray:
    """Engraves uint8 [H, W, 3]; `palette` 0..3 names a row of PALETTES.

    Every pixel is a mixture of the sheet's paper, ink and, where it has one, white.
    """
    integer.check_picture(picture)
    integer.check_palette(palette, PALETTES)
    sheet = SHEETS[palette]
    light = integer.luma(picture)
    tone = integer.stretch(integer.box_blur(light, 1))
    # Local contrast: engravers model each form over the whole range.
    tone = np.clip(tone + (tone - integer.blur(tone, 12)) // 2, 0, 255)
    turn = int(rng.integers(-2, 3))
    bend = integer.blur(light * 16, 5)

    cover = np.zeros(tone.shape, dtype=np.int32)
    for lines in LAYERS:
        cover = np.maximum(cover, _hatch(tone, bend, lines, turn, rng))
    cover = np.maximum(cover, _contours(light))
    result = _lay(np.array(sheet.paper, dtype=np.int32), sheet.ink, cover)
    if sheet.white is not None:
        lights = _hatch(255 - tone, bend, _HEIGHTENING, turn, rng)
        result = _lay(result, sheet.white, np.minimum(lights, 256 - cover))
    return integer.to_bytes(result)


def _lay(ground: np.ndarray, ink: tuple[int, int, int], cover: np.ndarray) -> np.ndarray:
    """Mixes `ink` over `ground` ([3] or [H, W, 3]) with cover 0..256 [H, W]."""
    part = cover[..., None]
    return (ground * (256 - part) + np.array(ink, dtype=np.int32) * part + 128) >> 8


def _hatch(
    tone: np.ndarray, bend: np.ndarray, lines: Lines, turn: int, rng: np.random.Generator
) -> np.ndarray:
    """Cover 0..256 [H, W] of one layer of lines over a tone map [H, W] with values 0..255."""
    height, width = tone.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.int32)
    angle = lines.angle + turn
    across = (y * integer.cosine(angle) - x * integer.sine(angle)) >> 6  # 16ths of a pixel
    waver = integer.smooth_noise(rng, tone.shape, 7, 14)
    across += waver + bend // 48 + int(rng.integers(0, lines.period))
    distance = np.abs(across % lines.period - lines.period // 2)
    # Half the line's width: from a hair where the layer begins to a quarter of the period. The
    # grain lets lines break off raggedly where they end.
    grain = integer.smooth_noise(rng, tone.shape, 1, 12)
    depth = lines.tone + grain - tone
    half = np.where(depth > 0, 3 + np.maximum(depth, 0) * lines.period // 760, -16)
    return np.clip((half + 8 - distance) * 16, 0, 256)


def _contours(light: np.ndarray) -> np.ndarray:
    """Cover 0..256 [H, W] of dark lines along the darker side of edges."""
    plane = integer.stretch(light) * 16
    gap = integer.blur(plane, 2) - integer.blur(plane, 1)
    return np.clip(gap - 110, 0, 256)
