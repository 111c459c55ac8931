"""The teacher without weights: colour statistics and texture (`statistics.py`), in integers.

Its pictures are the same on every machine.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.core.keyed import key64
from toolkit.teachers import statistics
from toolkit.teachers.api import Made, Request

Settings = statistics.Settings
SOURCES: Mapping[str, str] = {}
MULTIPLE = 1
_WEAKER = (70, 45)
"""Percent of the texture in the second and third attempt."""


def open_teacher(settings: Settings, weights: Mapping[str, str], device: str) -> "_Reinhard":
    """weights, device: not used."""
    return _Reinhard()


def gentler(settings: Settings, history: Sequence[Sequence[str]]) -> Settings | None:
    """Less texture, and less of the style's colours where they were the cause; None after the third
    attempt. history: the causes of each attempt so far."""
    if len(history) > len(_WEAKER):
        return None
    percent = _WEAKER[len(history) - 1]
    is_loud = any("saturated" in causes for causes in history)
    colour = settings.colour * percent // 100 if is_loud else settings.colour
    return dataclasses.replace(settings, texture=settings.texture * percent // 100, colour=colour)


def sentence(settings: Settings, size: int, seeds: Sequence[int]) -> str:
    """For a paper."""
    return (
        "Teacher targets are made without a network, by transferring colour statistics (Reinhard "
        f"et al. 2001; {settings.colour}% of the way) and, from windows of {settings.patch} "
        f"pixels, {settings.texture}% of the style's texture, "
        f"seeds {{{', '.join(map(str, seeds))}}}."
    )


class _Reinhard:
    def __init__(self) -> None:
        self.identity: dict[str, Any] = {"procedure": statistics.PROTOCOL}

    def make(self, request: Request, settings: Settings) -> Made:
        seed = key64("teacher", request.style_id, request.prompt, request.seed) >> 1
        pixels = statistics.transfer(request.content, request.style, seed, settings)
        return Made(pixels)

    def make_many(self, requests: Sequence[Request], settings: Settings) -> list[Made]:
        return [self.make(request, settings) for request in requests]
