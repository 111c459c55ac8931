"""Pictures turned at random, by the sample's seed.

Off by default: from ten pictures a model learns the slant as part of the style, and draws
everything slanted (source B2, section 2.2.6).
"""

import math

import torch
from torch.nn import functional

from toolkit.stream.augment import uniform


def turned(pictures: torch.Tensor, seeds: torch.Tensor, most: float) -> torch.Tensor:
    """Each picture turned about its middle by up to `most` degrees either way, mirrored beyond its
    edges.

    Args:
        pictures: float [N,3,S,S].
        seeds: int64 [N].
        most: degrees.
    """
    angles = [math.radians(most * (2 * uniform(seed, "turn") - 1)) for seed in seeds.tolist()]
    rows = [[[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0]] for a in angles]
    grid = functional.affine_grid(
        torch.tensor(rows, device=pictures.device), list(pictures.shape), align_corners=False
    )
    return functional.grid_sample(
        pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
