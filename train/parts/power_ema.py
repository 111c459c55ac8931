"""Averages of weights whose length is chosen after training (Karras et al. 2024, "Analyzing and
Improving the Training Dynamics of Diffusion Models", arXiv 2312.02696, section 3).

An average at time t gives the weights of time τ ≤ t the share (γ+1) τ^γ / t^(γ+1). Its length is
told by σ_rel, the standard deviation of that profile divided by t. A few tracked averages, copied
now and then, are a basis from which an average of another length is put together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Profile:
    """The shares of an average. gamma: its exponent; time: in steps, above 0."""

    gamma: float
    time: float


def gamma_of(sigma_rel: float) -> float:
    """γ of an average of length `sigma_rel` (appendix C): the largest real root of
    γ³ + 7γ² + (16 − σ⁻²)γ + (12 − σ⁻²). Raises ValueError outside of 0 … 0.28."""
    if not 0 < sigma_rel < 0.28:
        raise ValueError(f"sigma_rel={sigma_rel}: takes a number above 0 and below 0.28")
    inverse = sigma_rel**-2
    companion = torch.tensor(
        [[-7, inverse - 16, inverse - 12], [1, 0, 0], [0, 1, 0]], dtype=torch.float64
    )
    roots = torch.linalg.eigvals(companion)
    return float(max(root.real for root in roots if abs(root.imag) < 1e-6))


def sigma_rel_of(gamma: float) -> float:
    """The length σ_rel of an average of exponent γ."""
    return float(((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) ** 0.5)


def decay(gamma: float, time: float, elapsed: float = 1) -> float:
    """What stays of an average when the weights of `time` enter, `elapsed` steps after the last
    ones (section 3.1)."""
    return float(max(0.0, 1 - elapsed / time) ** (gamma + 1))


def overlap(a: Profile, b: Profile) -> float:
    """Inner product of two profiles (appendix C)."""
    early, late = (a, b) if a.time <= b.time else (b, a)
    ratio = (early.time / late.time) ** late.gamma
    return (a.gamma + 1) * (b.gamma + 1) * ratio / ((a.gamma + b.gamma + 1) * late.time)


def combination(basis: Sequence[Profile], wanted: Profile) -> torch.Tensor:
    """Shares, float64 [len(basis)] of sum 1, in which averages give the one nearest to `wanted`
    by least squares (appendix C)."""
    matrix = torch.tensor([[overlap(a, b) for b in basis] for a in basis], dtype=torch.float64)
    right = torch.tensor([[overlap(a, wanted)] for a in basis], dtype=torch.float64)
    # neighbouring profiles are nearly the same, so the matrix is nearly singular
    found = torch.linalg.lstsq(matrix, right, rcond=1e-12, driver="gelsd").solution[:, 0]
    return found / found.sum()


class PowerEma:
    """Averages of several lengths over named weights, float32 on the CPU.

    Args:
        sigma_rels: lengths, each with its own copy of the weights.
    """

    def __init__(self, sigma_rels: Sequence[float]):
        self.gammas = tuple(map(gamma_of, sigma_rels))
        self.averages: list[dict[str, torch.Tensor]] = [{} for _ in self.gammas]
        self.time = 0

    def update(self, weights: Mapping[str, torch.Tensor], time: int) -> None:
        """Lets the weights after step `time` enter, which is later than the last."""
        elapsed = time - self.time
        current = {name: tensor.detach().float().cpu() for name, tensor in weights.items()}
        for gamma, average in zip(self.gammas, self.averages, strict=True):
            kept = decay(gamma, time, elapsed)
            for name, tensor in current.items():
                if name in average:
                    average[name].lerp_(tensor, 1 - kept)
                else:
                    average[name] = tensor.clone()
        self.time = time

    def state(self) -> dict[str, torch.Tensor]:
        """All averages, their names behind their number: `0.name`."""
        return {
            f"{number}.{name}": tensor
            for number, average in enumerate(self.averages)
            for name, tensor in average.items()
        }

    def load_state(self, state: Mapping[str, torch.Tensor], time: int) -> None:
        """Puts `state` back, as it was after step `time`."""
        self.averages = [{} for _ in self.gammas]
        for key, tensor in state.items():
            number, _, name = key.partition(".")
            self.averages[int(number)][name] = tensor.clone()
        self.time = time
