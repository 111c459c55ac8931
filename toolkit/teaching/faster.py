"""A teacher in a faster way, once its pictures were found to be those of the slow one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.log import note
from toolkit.teachers.api import Made, Request

LEAST_PSNR = 35.0
"""dB between a picture and the same one made alone and uncompiled; as much as another make of GPU
may change it. Not measured on SDXL's weights."""


class Faster:
    """Asks a teacher for several pictures at once, or compiles it. Makes the first ones both ways.

    Args:
        teacher: as it was opened.
        compiled: whether to compile it; it then has a method `compile`.

    Raises:
        UserError: there is nothing to compile.
    """

    def __init__(self, teacher: Any, compiled: bool):
        if compiled and not hasattr(teacher, "compile"):
            raise UserError("--compile: this teacher has no network to compile, leave it away")
        self.identity: Mapping[str, Any] = teacher.identity
        self._teacher, self._compiled, self._is_checked = teacher, compiled, False

    def make(self, request: Request, settings: Any) -> Made:
        """As the teacher's own."""
        (made,) = self.make_many([request], settings)
        return made

    def make_many(self, requests: Sequence[Request], settings: Any) -> list[Made]:
        """As the teacher's own. Raises UserError where the first ones are not as if made alone."""
        if self._is_checked:
            return list(self._teacher.make_many(requests, settings))
        alone = [self._teacher.make(request, settings) for request in requests]
        made = self._first(requests, settings)
        found = min(psnr(one.pixels, other.pixels) for one, other in zip(alone, made, strict=True))
        how = " and ".join(
            ["compiled"] * self._compiled + [f"{len(made)} at a time"] * (len(made) > 1)
        )
        if not found >= LEAST_PSNR:
            flags = "--compile or --batch_size" if self._compiled else "--batch_size"
            raise UserError(
                f"{how}, pictures are {found:.1f} dB from those made alone, where {LEAST_PSNR:.0f} "
                f"dB are asked for: leave {flags} away"
            )
        note(f"{how}: at least {found:.1f} dB from pictures made alone")
        self._is_checked = True
        return made

    def _first(self, requests: Sequence[Request], settings: Any) -> list[Made]:
        if not self._compiled:
            return list(self._teacher.make_many(requests, settings))
        try:
            self._teacher.compile()
            return list(self._teacher.make_many(requests, settings))
        except Exception as error:  # a compiler fails in many ways
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"--compile failed ({first[0][:160]}): leave it away") from None


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two pictures, uint8 [H,W,3]; inf where they are equal."""
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
