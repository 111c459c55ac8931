"""Generated pictures as quality control meets them, made from real photographs and paintings.

Every recipe takes content and style, uint8 [S,S,3], another content and a generator of random
numbers, and gives uint8 [S,S,3]. `HONEST` are stylisations that must pass, `DAMAGED` by the class
that they must be refused for; `STRONG` are stylisations at the border, reported by themselves.
"""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from toolkit.painting import styles
from toolkit.teachers import statistics

Recipe = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def recolour(
    content: np.ndarray, style: np.ndarray, _: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The style's colour statistics alone."""
    return statistics.transfer(content, style, 0, statistics.Settings(texture=0))


def textured(
    content: np.ndarray, style: np.ndarray, _: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Colours and texture: the teacher without weights."""
    return statistics.transfer(content, style, int(rng.integers(1 << 30)))


def painterly(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Areas of one colour, as a brush leaves them, in the style's colours."""
    size = int(rng.choice([5, 7, 9]))
    daubed = Image.fromarray(content).filter(ImageFilter.ModeFilter(size))
    return recolour(np.asarray(daubed), style, other, rng)


def posterised(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A print of few colours."""
    smooth = Image.fromarray(recolour(content, style, other, rng)).filter(
        ImageFilter.MedianFilter(5)
    )
    return np.asarray(
        smooth.quantize(int(rng.integers(10, 24)), dither=Image.Dither.NONE).convert("RGB")
    )


def overlaid(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The painting's fine structure laid over the picture: its canvas and strokes."""
    blurred = np.asarray(Image.fromarray(style).filter(ImageFilter.GaussianBlur(4)))
    detail = style.astype(np.float32) - blurred
    return _bytes(recolour(content, style, other, rng) + rng.uniform(0.3, 0.7) * detail)


def bent(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Outlines drawn by hand: displaced by up to about three pixels."""
    return warped(textured(content, style, other, rng), 3.0, rng)


def warped(pixels: np.ndarray, reach_px: float, rng: np.random.Generator) -> np.ndarray:
    """Displaced smoothly by about `reach_px` pixels."""
    from scipy.ndimage import map_coordinates

    size = pixels.shape[0]
    field = [
        np.asarray(
            Image.fromarray(rng.normal(size=(9, 9)).astype(np.float32)).resize(
                (size, size), Image.Resampling.BICUBIC
            )
        )
        for _ in range(2)
    ]
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    where = [rows + reach_px * field[0], columns + reach_px * field[1]]
    planes = [
        map_coordinates(pixels[..., c].astype(np.float32), where, order=1, mode="nearest")
        for c in range(3)
    ]
    return _bytes(np.stack(planes, -1))


def black(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    return _bytes(content * rng.uniform(0, 0.04))


def constant(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One colour, with a trace of the picture or of noise."""
    colour = rng.uniform(30, 255, 3)
    trace = (content - content.mean((0, 1))) * rng.uniform(0, 0.03) + rng.normal(
        0, 1, content.shape
    )
    return _bytes(colour + trace)


def saturated(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Colours blown up, as too much guidance does."""
    base = Image.fromarray(textured(content, style, other, rng))
    loud = ImageEnhance.Color(base).enhance(rng.uniform(4, 8))
    return np.asarray(ImageEnhance.Contrast(loud).enhance(rng.uniform(1.2, 2)))


def white_noise(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    base = textured(content, style, other, rng)
    return _bytes(base + rng.normal(0, rng.uniform(40, 90), base.shape))


def only_noise(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Latents that were never denoised: blobs of eight pixels and noise."""
    blobs = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    large = np.asarray(blobs.resize(content.shape[:2], Image.Resampling.BICUBIC))
    return _bytes(large + rng.normal(0, rng.uniform(0, 30), content.shape))


def salt_and_pepper(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    base = textured(content, style, other, rng).copy()
    hit = rng.random(base.shape[:2]) < rng.uniform(0.04, 0.1)
    base[hit] = rng.choice([0, 255], size=(int(hit.sum()), 1))
    return base


def grid(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Blocks of 8 or 16 pixels that do not fit, or lines between them."""
    base = textured(content, style, other, rng).astype(np.float32)
    period, size = int(rng.choice([8, 16])), base.shape[0]
    if rng.random() < 0.5:
        steps = rng.normal(0, rng.uniform(10, 25), (size // period, size // period, 1))
        return _bytes(base + steps.repeat(period, 0).repeat(period, 1))
    strength = rng.uniform(15, 50)
    base[::period] -= strength
    base[:, ::period] -= strength
    return _bytes(base)


def unrelated(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    return textured(other, style, content, rng)


def shuffled(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The content's own parts in other places."""
    base, tile = textured(content, style, other, rng), int(rng.choice([32, 64, 128]))
    number = base.shape[0] // tile
    parts = base.reshape(number, tile, number, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)
    parts = parts[rng.permutation(len(parts))].reshape(number, number, tile, tile, 3)
    return parts.swapaxes(1, 2).reshape(base.shape)


def style_copy(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The painting, whole or with a trace of the content."""
    share = rng.choice([0, rng.uniform(0, 0.2)])
    return _bytes(style * (1 - share) + content * share)


def blurred(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    base = Image.fromarray(recolour(content, style, other, rng))
    return np.asarray(base.filter(ImageFilter.GaussianBlur(rng.uniform(6, 10))))


def strongly_warped(
    content: np.ndarray, style: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    return warped(textured(content, style, other, rng), rng.uniform(25, 50), rng)


def _painted(name: str) -> Recipe:
    def paint(
        content: np.ndarray, style: np.ndarray, _: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        return styles.style(name).paint(content, rng, int(rng.integers(3)))

    return paint


HONEST: Mapping[str, Recipe] = {
    "recolour": recolour, "textured": textured, "painterly": painterly, "posterised": posterised,
    "overlaid": overlaid, "bent": bent,
}  # fmt: skip
STRONG: Mapping[str, Recipe] = {f"painted as {name}": _painted(name) for name in styles.names()}
DAMAGED: Mapping[str, Mapping[str, Recipe]] = {
    "black": {"black": black},
    "constant": {"constant": constant},
    "saturated": {"saturated": saturated},
    "noise": {"white noise": white_noise, "only noise": only_noise, "impulses": salt_and_pepper},
    "grid": {"grid": grid},
    "structure": {"unrelated": unrelated, "shuffled": shuffled},
    "leak": {"style copy": style_copy},
    "blur": {"blurred": blurred},
}  # fmt: skip
APART: Mapping[str, Recipe] = {"strongly warped": strongly_warped}
