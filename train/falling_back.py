"""Pictures that do not look like their style are drawn again, otherwise.

Modern things in an old style stay photographs at times: they lie farther from the look of the
style's pictures (`toolkit.measures.stylization`) than any of these does from the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.measures.stylization import StyleLook, look_of

_LEAST = 2  # pictures of a style, for one to be far from the others


@dataclass(frozen=True)
class Drawn:
    """A picture that was kept. pixels: uint8 [H,W,3]; tries: how often it was drawn again;
    distance: from the look of its style, in spreads of the style's pictures; farthest: of one of
    these."""

    pixels: np.ndarray
    tries: int
    distance: float
    farthest: float

    @property
    def is_of_the_style(self) -> bool:
        """Whether it is no farther than the style's own pictures."""
        return self.distance <= self.farthest


@dataclass
class FallingBack:
    """Draws pictures again until they look like their style, as often as there are ways.

    ways: how, one after the other. drawn: what became of each picture, by its number.
    """

    ways: Sequence[Any]
    drawn: dict[int, Drawn] = field(default_factory=dict)
    _styles: dict[str, StyleLook | None] = field(default_factory=dict)

    def style(self, name: str, pictures: Callable[[], Sequence[np.ndarray]]) -> StyleLook | None:
        """The look of a style; None of one picture. pictures: uint8 [H,W,3], asked for once."""
        if name not in self._styles:
            found = pictures()
            looks = [look_of(pixels) for pixels in found]
            self._styles[name] = StyleLook.of(np.stack(looks)) if len(looks) >= _LEAST else None
        return self._styles[name]

    def keep(
        self, number: int, pixels: np.ndarray, style: StyleLook | None,
        draw: Callable[[Any], np.ndarray],
    ) -> np.ndarray:  # fmt: skip
        """The picture, or the one of its other drawings that is nearest to the style.

        Args:
            number: of the picture.
            pixels: uint8 [H,W,3].
            style: its style's look, None where it has none.
            draw: the picture in one of the ways.
        """
        if style is None:
            return pixels
        best = Drawn(pixels, 0, style.distance(look_of(pixels)), style.farthest)
        tries = 0
        for tries, way in enumerate(self.ways if not best.is_of_the_style else (), 1):
            other = draw(way)
            distance = style.distance(look_of(other))
            if distance < best.distance:
                best = Drawn(other, tries, distance, style.farthest)
            if best.is_of_the_style:
                break
        self.drawn[number] = Drawn(best.pixels[:0], tries, best.distance, best.farthest)
        return best.pixels

    def notes(self) -> list[str]:
        """What there is to tell, a line or none."""
        again = [one for one in self.drawn.values() if one.tries]
        if not again:
            return []
        near = sum(one.is_of_the_style for one in again)
        return [
            f"{len(again)} of {len(self.drawn)} pictures were farther from their style's look than "
            f"its own pictures are, and were drawn again: {near} are as near now"
        ]
