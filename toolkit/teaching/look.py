"""Looks at a generated picture beside its content and style: the numbers that it is graded by."""

import dataclasses
from collections.abc import Callable

import numpy as np

from toolkit.core.remembered import Remembered
from toolkit.measures.quality import Features, compare, features
from toolkit.teachers.grading import measures_of
from toolkit.teaching.clip import ClipContent

_REMEMBERED = 128
"""Contents and styles whose features are kept; a megabyte each at 512²."""
Pixels = Callable[[], np.ndarray]


class Looker:
    """Measures pictures; remembers what it saw of contents and styles. clip: measures content
    consistency, where its weights are there."""

    def __init__(self, clip: ClipContent | None = None):
        self._clip = clip
        self._features: Remembered[Features] = Remembered(_REMEMBERED)

    def measures(
        self,
        picture: np.ndarray,
        content: tuple[tuple[str, str], Pixels],
        style: tuple[tuple[str, str], Pixels],
    ) -> dict[str, float | None]:
        """As `measures_of` gives. picture: uint8 [H,W,3]; content, style: dataset and key of each,
        and what makes its pixels in the picture's shape."""
        # by role, for a protocol may fit contents in another way than styles are fitted here
        of_content = self._of("content", content, picture.shape)
        of_style = self._of("style", style, picture.shape)
        compared = compare(features(picture), of_content, of_style)
        if self._clip is not None:
            value = self._clip.similarity(picture, content)
            compared = dataclasses.replace(compared, clip_content=value)
        return measures_of(compared)

    def _of(
        self, role: str, one: tuple[tuple[str, str], Pixels], shape: tuple[int, ...]
    ) -> Features:
        place, pixels = one
        key = (role, place, shape)
        return self._features.get(key, lambda: features(np.ascontiguousarray(pixels())))
