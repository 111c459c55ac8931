"""Does a picture look like pictures of a style at all?

A look is ten numbers: means and deviations of the colours, and how much of the luma varies
at four scales, from brush strokes to patches. A style is where its reference pictures lie; how far
a picture is from there is counted in their own spread. Models that resist a style (modern things in
an old one, say) leave the photograph's look as it was, and that shows here.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.measures.edges import luma
from toolkit.measures.histograms import colour_statistics

SIGMAS_PX = (0.7, 1.4, 2.8, 5.6)  # of a picture that is 128 pixels wide
SIDE_PX = 128
_LEAST_SPREAD = 0.05  # of the ten numbers, so that few or equal references do not make it 0
_NORMAL = 1.4826  # median absolute deviations in a standard deviation


def look_of(pixels: np.ndarray) -> np.ndarray:
    """The ten numbers of uint8 [H,W,3]: float64 [10]; colours in [-1,1], scales as logarithms of
    standard deviations."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    small = np.asarray(Image.fromarray(pixels).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX))
    plane, bands = luma(small) / 255, []
    for sigma in SIGMAS_PX:
        blurred = gaussian_filter(plane, sigma, mode="nearest")
        bands.append(np.log10((plane - blurred).std() + 1e-3))
        plane = blurred
    return np.concatenate([colour_statistics(small), bands])


@dataclass(frozen=True)
class StyleLook:
    """Where the pictures of a style lie. middle, spread: float64 [10]; farthest: the greatest
    distance of a reference from where the others lie, which a picture of the style may have."""

    middle: np.ndarray
    spread: np.ndarray
    farthest: float

    @classmethod
    def of(cls, looks: np.ndarray) -> "StyleLook":
        """Of references [N,10], N from 1."""
        middle = np.median(looks, axis=0)
        spread = _NORMAL * np.median(np.abs(looks - middle), axis=0) + _LEAST_SPREAD
        others = [np.delete(looks, n, axis=0) for n in range(len(looks))] if len(looks) > 1 else []
        apart = [
            _distance(own, np.median(rest, axis=0), spread)
            for own, rest in zip(looks, others, strict=False)
        ]
        return cls(middle, spread, max(apart, default=1.0))

    def distance(self, look: np.ndarray) -> float:
        """Of a picture's look [10] from the style, from 0, in spreads of its references."""
        return _distance(look, self.middle, self.spread)

    def moved(self, look: np.ndarray, before: np.ndarray) -> float:
        """How much of the way from the content's look to the style's a picture has gone: 0 for an
        unchanged one, 1 for one in the middle of the style, below 0 for one that went away."""
        start = self.distance(before)
        return 1 - self.distance(look) / start if start > 0 else 1.0


def _distance(look: np.ndarray, middle: np.ndarray, spread: np.ndarray) -> float:
    return float(np.abs((look - middle) / spread).mean())
