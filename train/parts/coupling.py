"""Which noise goes with which data in a minibatch.

Flow matching as in source texts that draw x_0 ~ N(0, I) for each x_1 has the independent coupling,
whatever it calls itself. Optimal transport (Tong et al. 2023, arXiv 2302.00482; Pooladian et al.
2023, arXiv 2304.14772) pairs the noise and the data of a batch at the least sum of squared
distances, which straightens paths and lowers the variance of the regression target.

Between equally many equally weighted points the optimal plan is a permutation (Birkhoff), found by
the Hungarian method; no entropic or other approximation is needed.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

Coupling = Literal["independent", "ot_exact", "ot_hungarian", "c2ot"]


class Pairs(NamedTuple):
    """noise, data: int64 [N], numbers of the noise and of the data of each pair."""

    noise: torch.Tensor
    data: torch.Tensor


def couple(
    kind: Coupling, noise: torch.Tensor, data: torch.Tensor, labels: Sequence[int], seed: int
) -> Pairs:
    """Pairs the rows of noise and data.

    independent: each with its own. ot_hungarian: the optimal permutation. ot_exact: N draws from
    the optimal plan with replacement, as torchcfm does, so that some pairs come twice and some not
    at all. c2ot: the optimal permutation inside each label, which Cheng & Schwing 2025 (arXiv
    2503.10636) come to for discrete conditions; over all labels at once, transport skews the noise
    that a label sees in training against the noise that it is given afterwards.

    Args:
        noise, data: [N,...].
        labels: N.
        seed: of the draws.
    """
    rows = torch.arange(len(data))
    if kind == "independent":
        return Pairs(rows, rows)
    if kind == "c2ot":
        chosen = rows.clone()
        for label in set(labels):
            mine = torch.tensor([n for n, other in enumerate(labels) if other == label])
            chosen[mine] = mine[_assign(noise[mine], data[mine])]
        return Pairs(chosen, rows)
    chosen = _assign(noise, data)
    if kind == "ot_hungarian":
        return Pairs(chosen, rows)
    drawn = torch.randint(len(data), (len(data),), generator=torch.Generator().manual_seed(seed))
    return Pairs(chosen[drawn], drawn)


def transport_cost(noise: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    """float64 [N,N]: squared distance of each row of data to each row of noise."""
    return torch.cdist(data.flatten(1).double(), noise.flatten(1).double()).square()


def _assign(noise: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    """The row of noise for each row of data."""
    from scipy.optimize import linear_sum_assignment

    _, chosen = linear_sum_assignment(transport_cost(noise, data).cpu().numpy())
    return torch.from_numpy(chosen)
