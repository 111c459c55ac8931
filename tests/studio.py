"""Contents and styles large enough for quality control, packed as `content` and `wikiart`."""

import numpy as np

from tests.conftest import ToySource, encoded, picture
from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout

SIZE = 96


def content(seed: int) -> np.ndarray:
    """A picture with edges and some texture."""
    rng = np.random.Generator(np.random.Philox(seed))
    pixels = picture(seed, SIZE, SIZE).astype(np.int64)
    for _ in range(8):
        top, left = rng.integers(0, SIZE - 24, 2)
        height, width = rng.integers(10, 40, 2)
        pixels[top : top + height, left : left + width] += rng.integers(-70, 70, 3)
    pixels += rng.integers(-6, 7, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def pack_studio(layout: Layout) -> None:
    """Five contents in train, one in val; seven paintings of two styles and of none."""
    contents = {
        f"{i:012d}": Record(
            {"png": encoded(content(i), "PNG")} if i else {"jpg": encoded(content(i))},
            captions=(f"a photo of thing {i}", "another"),
            split="val" if i == 5 else "train",
        )
        for i in range(6)
    }  # fmt: skip
    styles = {
        f"painting-{i}": Record(
            {"png": encoded(content(100 + i), "PNG")}, style=("Cubism", "Ukiyo_e", None)[i % 3],
            artist=f"artist {i % 4}",
        )
        for i in range(7)
    }  # fmt: skip
    pack(ToySource("content", contents), "content", layout, 4)
    pack(ToySource("wikiart", styles), "wikiart", layout, 4)
