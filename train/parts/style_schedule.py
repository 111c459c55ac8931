"""How strong the style is over the course of denoising, the same in training and in sampling.

Layout is settled early and surfaces late: "Scheduled Style Injection" (arXiv 2605.26538) finds that
style which grows with denoising keeps more of the content, along a cosine more than along a line.
"""

import math
from typing import Literal

import torch

Kind = Literal["none", "piecewise", "cosine"]


def style_strength(
    kind: Kind, progress: torch.Tensor, low: float = 0.0, begin: float = 0.2, end: float = 0.6
) -> torch.Tensor:
    """Factor of the style's strength at each sample's progress.

    none: 1. piecewise: `low` until `begin`, then in a straight line up to 1 at `end`. cosine: low +
    (1 − low)·(1 − cos πτ)/2.

    Args:
        kind: of these three.
        progress: float [N], τ from 0, all noise, to 1, the picture.
        low: the least factor, from 0 to 1.
        begin, end: of the piecewise rise, 0 ≤ begin < end ≤ 1.

    Returns:
        float [N].
    """
    if kind == "none":
        return torch.ones_like(progress)
    if kind == "piecewise":
        share = ((progress - begin) / (end - begin)).clamp(0, 1)
    else:
        share = (1 - torch.cos(math.pi * progress)) / 2
    return low + (1 - low) * share
