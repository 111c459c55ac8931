"""Filled circles in CSS colours, as in Fill50K, the data set of ControlNet's tutorial.

Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models": the condition is
a white outline on black, the target a filled circle on a plain ground, and only the prompt names
the two colours. Sizes, places and names are those measured on a sample of its pictures.
"""

from dataclasses import dataclass

import numpy as np
from PIL import ImageColor

SIZE_PX = 512
OUTLINE_PX = 5
RADIUS_PX = (64, 226)
CENTRE_PX = (117, 406)

COLOUR_NAMES = (
    "alice blue", "antique white", "aqua", "aquamarine", "azure", "beige", "bisque", "black",
    "blanched almond", "blue", "blue violet", "brown", "burly wood", "cadet blue", "chartreuse",
    "chocolate", "coral", "cornflower blue", "corn silk", "crimson", "cyan", "dark blue",
    "dark cyan", "dark golden rod", "dark gray", "dark green", "dark khaki", "dark magenta",
    "dark olive green", "dark orange", "dark orchid", "dark red", "dark salmon",
    "dark sea green", "dark slate blue", "dark slate gray", "dark turquoise", "dark violet",
    "deep pink", "deep sky blue", "dim gray", "dodger blue", "fire brick", "floral white",
    "forest green", "fuchsia", "gainsboro", "ghost white", "gold", "golden rod", "gray", "green",
    "green yellow", "honey dew", "hot pink", "indian red", "indigo", "ivory", "khaki",
    "lavender", "lavender blush", "lawn green", "lemon chiffon", "light blue", "light coral",
    "light cyan", "light golden rod yellow", "light gray", "light green", "light pink",
    "light salmon", "light sea green", "light sky blue", "light slate gray",
    "light steel blue", "light yellow", "lime", "lime green", "linen", "magenta", "maroon",
    "medium aqua marine", "medium blue", "medium orchid", "medium purple", "medium sea green",
    "medium slate blue", "medium spring green", "medium turquoise", "medium violet red",
    "midnight blue", "mint cream", "misty rose", "moccasin", "navajo white", "navy", "old lace",
    "olive", "olive drab", "orange", "orange red", "orchid", "pale golden rod", "pale green",
    "pale turquoise", "pale violet red", "papaya whip", "peach puff", "peru", "pink", "plum",
    "powder blue", "purple", "red", "rosy brown", "royal blue",
    "saddle brown", "salmon", "sandy brown", "sea green", "sea shell", "sienna", "silver",
    "sky blue", "slate blue", "slate gray", "snow", "spring green", "steel blue", "tan", "teal",
    "thistle", "tomato", "turquoise", "violet", "wheat", "white", "white smoke", "yellow",
    "yellow green",
)  # fmt: skip


@dataclass(frozen=True)
class Circle:
    """A circle and its two colours. disc, outline: bool [512,512]; colours: RGB in 0..255."""

    disc: np.ndarray
    outline: np.ndarray
    colour: tuple[int, ...]
    ground: tuple[int, ...]
    prompt: str


def draw(rng: np.random.Generator) -> Circle:
    """A random circle, which may reach over the border, in two different colours. The outline lies
    astride the disc's edge."""
    radius = int(rng.integers(*RADIUS_PX))
    x, y = (int(v) for v in rng.integers(*CENTRE_PX, size=2))
    drawn = [COLOUR_NAMES[i] for i in rng.permutation(len(COLOUR_NAMES))[:3]]
    name = drawn[0]
    ground = next(other for other in drawn[1:] if rgb(other) != rgb(name))  # aqua is cyan
    axis = np.arange(SIZE_PX)
    squared = (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2
    disc = squared <= radius**2
    # within half the width of the edge; in doubled numbers, so that halves stay whole
    inner, outer = 2 * radius - OUTLINE_PX, 2 * radius + OUTLINE_PX
    outline = (4 * squared >= inner**2) & (4 * squared <= outer**2)
    prompt = f"{name} circle with {ground} background"
    return Circle(disc, outline, rgb(name), rgb(ground), prompt)


def rgb(name: str) -> tuple[int, ...]:
    """RGB in 0..255 of a CSS colour whose words are separated by spaces."""
    return ImageColor.getrgb(name.replace(" ", ""))[:3]
