"""Pictures with captions to train a small text-to-image model from nothing.

Photographs in scikit-image's wheel, cut anew each time: as they are, in two tones, or painted; and
flat shapes. The held-out photographs of the sample data are not among them. Every picture is a pure
function of its number, in integer arithmetic, so all bytes are reproducible.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.checks import at_least
from toolkit.core.keyed import key64
from toolkit.core.records import Record, Ref
from toolkit.painting import shapes, styles
from toolkit.painting.photographs import PHOTOGRAPHS, crop
from toolkit.store.images import encode_jpeg

SIZE_PX = 128
VERSION = 1
KINDS = ("photograph", "toned", "painting", "photograph", "toned", "painting", "toned", "shape")
"""Of pictures number 0, 1, 2 … in turn."""
_SMALLEST_PERCENT = 35  # of a photograph's shorter side, that a cut has at least
_LICENCE = "derived from the sample photographs of scikit-image; see its documentation of them"


def open_source(count: int = 8000, seed: int = 0) -> "Pretraining":
    """Opens it. Raises UserError for less than one picture.

    Args:
        count: pictures.
        seed: another gives others.
    """
    at_least(1, count=count)
    return Pretraining(count, seed)


@dataclass(frozen=True)
class Pretraining:
    """Generated pictures with captions."""

    count: int
    seed: int

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """The pictures by number."""
        for number in range(self.count):
            yield Ref(f"{number:06d}", number)

    def read(self, ref: Ref) -> Record:
        """Makes one picture."""
        number: int = ref.locator
        kind = KINDS[number % len(KINDS)]
        rng = np.random.Generator(np.random.Philox(key=key64("pretraining", self.seed, number)))
        style = None
        if kind == "shape":
            drawn = shapes.draw(rng, SIZE_PX)
            pixels, captions = drawn.pixels, (drawn.caption,)
        else:
            some = [
                p for p in PHOTOGRAPHS if not p.held_out and (kind != "painting" or p.paintable)
            ]
            photograph = some[int(rng.integers(len(some)))]
            pixels = crop(photograph.name, rng, SIZE_PX, _SMALLEST_PERCENT)
            if rng.integers(2):
                pixels = np.ascontiguousarray(pixels[:, ::-1])
            captions = (f"a photograph of {photograph.caption}",)
            if kind == "toned":
                pixels, words = shapes.toned(pixels, rng)
                captions = (f"{captions[0]} {words}",)
            elif kind == "painting":
                painter = styles.STYLES[int(rng.integers(len(styles.STYLES)))]
                palette = int(rng.integers(len(painter.palettes)))
                pixels, style = painter.paint(pixels, rng, palette), painter.name
                name = style.replace("_", " ").lower()
                words = f"{name} in {painter.palettes[palette]}"
                captions = (f"a painting of {photograph.caption}, {words}",)
        return Record(
            members={"jpg": encode_jpeg(pixels)},
            captions=captions,
            style=style,
            genre=kind,
            licence="generated" if kind == "shape" else _LICENCE,
            split="val" if number % 50 == 49 else "train",
        )

    def describe(self) -> dict[str, Any]:
        """Everything that decides the bytes, without their number."""
        return {"kind": "pretraining", "version": VERSION, "seed": self.seed, "size_px": SIZE_PX}
