"""What is done to a sample: a pure function of its seed, so it is the same on every machine.

The content and the target of a triplet show the same scene, so they are cut and flipped alike; the
style is cut by itself.
"""

import math
from dataclasses import dataclass
from typing import Literal

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64

_ALIGNED = {"target": "scene", "content": "scene", "style": "style"}


@dataclass(frozen=True)
class Cut:
    """What is cut out of a picture. left, top: 0 to 1, of the room that it has; scale: its sides as
    parts of the largest there are of its shape; flipped: mirrored left to right."""

    left: float = 0.5
    top: float = 0.5
    scale: float = 1.0
    flipped: bool = False

    def box(
        self, height: int, width: int, shape: tuple[int, int] = (1, 1)
    ) -> tuple[int, int, int, int]:
        """(left, top, width, height) in pixels of a picture of that size. shape: height and width
        to which those of the box stand alike; a square by default."""
        across, down = float(width), float(height)
        if is_narrow(height, width, shape):
            down = width * shape[0] / shape[1]
        else:
            across = height * shape[1] / shape[0]
        w, h = (max(1, round(side * self.scale)) for side in (across, down))
        return _place(self.left, width - w), _place(self.top, height - h), w, h


@dataclass(frozen=True)
class Augment:
    """crop: the central square, or one anywhere; least_scale, most_scale: the smallest and the
    largest side of a random crop, as parts of the picture's shorter side; flip, caption_dropout:
    probabilities.

    Raises UserError for a value out of range."""

    crop: Literal["center", "random"] = "center"
    least_scale: float = 1.0
    flip: float = 0.0
    caption_dropout: float = 0.0
    most_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.crop not in ("center", "random"):
            raise UserError(f"crop={self.crop}: choose center or random")
        for name in ("flip", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: takes 0 to 1")
        if not 0 < self.most_scale <= 1:
            raise UserError(f"most_scale={self.most_scale}: takes a number up to 1")
        if not 0 < self.least_scale <= self.most_scale:
            raise UserError(
                f"least_scale={self.least_scale}: takes a number up to {self.most_scale:g}"
            )

    def cut(self, seed: int, role: str) -> Cut:
        """How a picture of the sample with this seed is cut."""
        scene = _ALIGNED[role]
        flipped = self.flip > 0 and uniform(seed, f"flip {scene}") < self.flip
        if self.crop == "center":
            return Cut(flipped=flipped)
        room = self.most_scale - self.least_scale
        scale = self.least_scale + room * uniform(seed, f"scale {scene}")
        left, top = (uniform(seed, f"{side} {scene}") for side in ("left", "top"))
        return Cut(left, top, scale, flipped)

    def view(self, seed: int, role: str) -> float | None:
        """Which of stored cuts the sample with this seed is shown, from 0 to 1 for the first to the
        last; None for the central one."""
        return None if self.crop == "center" else uniform(seed, f"view {_ALIGNED[role]}")

    def drops_caption(self, seed: int) -> bool:
        """Whether the sample with this seed goes without its caption."""
        return self.caption_dropout > 0 and uniform(seed, "caption") < self.caption_dropout


def is_narrow(height: int, width: int, shape: tuple[int, int]) -> bool:
    """Whether the largest box of a shape, (height, width), is as wide as the picture."""
    return width * shape[0] <= height * shape[1]


def _place(part: float, room: int) -> int:
    """0 to room, equally likely for a uniform part; room // 2 for the middle."""
    return max(0, math.ceil(part * (room + 1)) - 1)


def uniform(seed: int, purpose: str) -> float:
    """A number in [0, 1) for one purpose of one sample: 53 bits of `key64`, exact everywhere."""
    return (key64(purpose, seed) >> 11) / (1 << 53)
