"""Ukiyo-e: flat inks on paper with dark outlines, like a colour woodblock print.

The picture is smoothed without blurring its edges (M. Kuwahara et al., "Processing of
RI-angiocardiographic images", 1976), every pixel takes the nearest of a palette's few inks, a
majority vote gives the blocks clean borders, and a thresholded difference of Gaussians draws the
key block's outlines (H. Winnemoeller et al., "Real-time video abstraction", 2006). The lightest
ink is the bare paper.
"""

import numpy as np

from toolkit.painting import integer, marks

PALETTES = ("prussian blue", "vermilion dusk", "pine and moss", "plum blossom")

# First the key block's ink, then the paper, then the colour blocks from dark to light.
INKS = (
    ((16, 24, 48), (240, 228, 200), (24, 48, 96), (36, 84, 140), (92, 140, 172), (168, 190, 186),
     (206, 176, 128), (176, 84, 62)),
    ((40, 22, 24), (246, 224, 182), (92, 36, 40), (176, 52, 38), (222, 96, 50), (238, 160, 84),
     (120, 122, 118), (64, 84, 104)),
    ((20, 34, 30), (236, 230, 202), (30, 66, 56), (58, 104, 70), (118, 146, 88), (178, 186, 122),
     (214, 168, 84), (160, 92, 54)),
    ((44, 24, 48), (244, 228, 220), (84, 44, 88), (138, 72, 116), (196, 110, 138), (230, 168, 172),
     (146, 146, 178), (196, 172, 122)),
)  # fmt: skip
_ROUNDS = 2  # Passes of the Kuwahara filter.


def paint(picture: np.ndarray, rng: np.random.Generator, palette: int) -> np.ndarray:
    """Prints uint8 [H, W, 3] from flat blocks; `palette` 0..3 names a row of PALETTES.

    The result holds only the colours of INKS[palette].
    """
    integer.check_picture(picture)
    integer.check_palette(palette, PALETTES)
    inks = np.array(INKS[palette], dtype=np.int32)
    smooth = picture.astype(np.int32)
    for _ in range(_ROUNDS):
        smooth = kuwahara(smooth, 3)
    blocks = _choose(smooth, inks, rng)
    blocks = np.where(_outlines(smooth, rng), 0, _vote(blocks, len(inks)))
    return integer.to_bytes(inks[blocks])


def kuwahara(picture: np.ndarray, radius: int) -> np.ndarray:
    """Each pixel of int32 [H, W, 3] becomes the mean of its calmest corner window.

    The four windows of (radius + 1)^2 pixels have the pixel as a corner; the calmest is the one
    whose luma varies least.
    """
    side = radius + 1
    light = integer.luma(picture)
    stack = np.concatenate((picture, light[..., None], (light * light)[..., None]), axis=2)
    sums = np.pad(stack, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    for axis in (0, 1):
        # Widen the window by its own width until it has `side` pixels.
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            size = sums.shape[axis] - step
            near, far = [slice(None)] * 3, [slice(None)] * 3
            near[axis], far[axis] = slice(0, size), slice(step, step + size)
            sums = sums[tuple(near)] + sums[tuple(far)]
            reach += step
    height, width = light.shape
    count = side * side
    best = np.zeros_like(picture)
    least = np.full(light.shape, np.iinfo(np.int32).max, dtype=np.int32)
    for top in (0, radius):
        for left in (0, radius):
            window = sums[top : top + height, left : left + width]
            spread = count * window[..., 4] - window[..., 3] * window[..., 3]
            np.copyto(best, window[..., :3], where=(spread < least)[..., None])
            np.minimum(least, spread, out=least)
    return (best + count // 2) // count


def _choose(picture: np.ndarray, inks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Number 1.. of the ink for each pixel: nearest in luma first, then in chroma.

    The luma, stretched, is compared with the inks' own range, so that dark and light pictures
    alike use the whole set. A slow waver moves the borders as a carver's hand would.
    """
    opponent = integer.to_opponent(picture)
    own = integer.to_opponent(inks)
    light = integer.stretch(integer.luma(picture))
    light = light + integer.smooth_noise(rng, light.shape, 6, 10)
    lumas = integer.luma(inks)
    low, high = int(lumas[1:].min()), int(lumas[1:].max())
    light = low + light * (high - low) // 255
    best = np.zeros(light.shape, dtype=np.int32)
    least = np.full(light.shape, np.iinfo(np.int32).max, dtype=np.int32)
    for number in range(1, len(inks)):
        gap = light - int(lumas[number])
        orange = (opponent[..., 1] - int(own[number, 1])) >> 2
        green = (opponent[..., 2] - int(own[number, 2])) >> 2
        distance = 4 * gap * gap + orange * orange + green * green
        closer = distance < least
        best[closer] = number
        least = np.minimum(least, distance)
    return best


def _vote(blocks: np.ndarray, count: int) -> np.ndarray:
    """Majority of the ink numbers 1..count - 1 within 5 x 5 pixels; specks vanish."""
    best = np.ones(blocks.shape, dtype=np.int32)
    most = np.full(blocks.shape, -1, dtype=np.int32)
    for number in range(1, count):
        votes = integer.box_blur((blocks == number).astype(np.int32) * 2500, 2)
        best[votes > most] = number
        most = np.maximum(most, votes)
    return best


def _outlines(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boolean [H, W]: where the key block prints. Brush pressure swells and thins the lines."""
    light = integer.stretch(integer.luma(picture)) * 16
    gap = integer.blur(light, 2) - integer.blur(light, 1)
    gap += integer.smooth_noise(rng, light.shape, 8, 30)
    # Hysteresis as in Canny's detector: a weak line counts only close to a strong one, and the
    # strong ones must not be specks.
    strong = gap > 150
    strong &= integer.box_blur(strong.astype(np.int32) * 4900, 3) > 1000
    return (gap > 75) & (marks.dilate(strong.astype(np.int32), 4) > 0)
