"""Classifier-free guidance of velocities (Ho & Salimans 2022), and what was made of it.

v_c: velocity under the label; v_u: under none; w: weight, 1 for no guidance.
"""

import torch


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, weight: float) -> torch.Tensor:
    """v_u + w·(v_c − v_u)."""
    return unconditional + weight * (conditional - unconditional)


def guided_zero_star(
    conditional: torch.Tensor, unconditional: torch.Tensor, weight: float
) -> torch.Tensor:
    """CFG-Zero* (Fan et al. 2025, arXiv 2503.18886, eq. 6): s·v_u + w·(v_c − s·v_u), where
    s = ⟨v_c, v_u⟩ / |v_u|² makes the unconditional velocity as good as a factor can, for each
    sample. Their zero velocity in the first steps is for beginnings from pure noise, not for
    translations, and is left out."""
    c, u = conditional.flatten(1).float(), unconditional.flatten(1).float()
    scale = (c * u).sum(1) / (u.square().sum(1) + 1e-8)
    scaled = scale.to(conditional).reshape(-1, *[1] * (conditional.ndim - 1)) * unconditional
    return scaled + weight * (conditional - scaled)
