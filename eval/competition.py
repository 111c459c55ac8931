"""The competition's final score, from its six terms.

Jittor AI challenge 2024, track "style": Final = (0.2·DINO + 0.4·Hist + 0.4·(1 − LPIPS)) ·
(0.5·CLIP-R + 0.4·(20 − min(FID, 20))/20 + 0.1·CLIP-IQA). LPIPS above 1 counts as 1.
"""

from dataclasses import dataclass, fields

from toolkit.core.errors import UserError

WORST_FID = 20.0


@dataclass(frozen=True)
class Terms:
    """dino: cosine in [-1,1]. hist: correlation in [-1,1]. fid: from 0, of 64 features. lpips: from
    0. clip_iqa, clip_r: shares in [0,1]."""

    dino: float
    hist: float
    fid: float
    lpips: float
    clip_iqa: float
    clip_r: float

    def __post_init__(self) -> None:
        ranges = {"dino": (-1, 1), "hist": (-1, 1), "fid": (0, float("inf")),
                  "lpips": (0, float("inf")), "clip_iqa": (0, 1), "clip_r": (0, 1)}  # fmt: skip
        for field in fields(self):
            low, high = ranges[field.name]
            value = getattr(self, field.name)
            if not low <= value <= high:
                upto = f"from {low}" if high == float("inf") else f"from {low} to {high}"
                raise UserError(f"--{field.name}={value}: takes a number {upto}")


@dataclass(frozen=True)
class Final:
    """style, and text + quality, whose product is the score. All in [0,1] for terms from 0."""

    style: float
    text: float
    quality: float

    @property
    def score(self) -> float:
        """The competition's number."""
        return self.style * (self.text + self.quality)


def final(terms: Terms) -> Final:
    """The parts of the final score."""
    return Final(
        style=0.2 * terms.dino + 0.4 * terms.hist + 0.4 * max(0.0, 1 - terms.lpips),
        text=0.5 * terms.clip_r,
        quality=0.4 * (WORST_FID - min(terms.fid, WORST_FID)) / WORST_FID + 0.1 * terms.clip_iqa,
    )
