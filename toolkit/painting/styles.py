"""The five painting styles: which module renders each, and how its pictures are labelled.

Nobody painted these pictures, so the artist's label says what rendered them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toolkit.painting import facets, flat, hatching, points, strokes


@dataclass(frozen=True)
class Style:
    """A style by its WikiArt name, its renderer and the names of the renderer's palettes."""

    name: str
    artist: str
    paint: Callable[[np.ndarray, np.random.Generator, int], np.ndarray]
    palettes: tuple[str, ...]


STYLES: tuple[Style, ...] = (
    Style(
        "Impressionism",
        "Tessera renderer (curved strokes after Hertzmann 1998)",
        strokes.paint,
        strokes.PALETTES,
    ),
    Style(
        "Pointillism",
        "Tessera renderer (Poisson-disk dots of divided colour)",
        points.paint,
        points.PALETTES,
    ),
    Style(
        "Cubism",
        "Tessera renderer (shaded Voronoi facets)",
        facets.paint,
        facets.PALETTES,
    ),
    Style(
        "Ukiyo_e",
        "Tessera renderer (flat inks with outlines)",
        flat.paint,
        flat.PALETTES,
    ),
    Style(
        "Northern_Renaissance",
        "Tessera renderer (hatching on tinted paper)",
        hatching.paint,
        hatching.PALETTES,
    ),
)


def names() -> tuple[str, ...]:
    """The names of all styles, in their fixed order."""
    return tuple(style.name for style in STYLES)


def style(name: str) -> Style:
    """The style called `name`; raises ValueError with the known names otherwise."""
    for candidate in STYLES:
        if candidate.name == name:
            return candidate
    raise ValueError(f"unknown style {name!r}; known are {', '.join(names())}")
