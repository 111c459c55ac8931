"""Averages of existing checkpoints, each step back in time counting `mu` times as much."""

from collections.abc import Callable, Mapping, Sequence

import torch


def geometric_average(
    checkpoints: Sequence[Callable[[], Mapping[str, torch.Tensor]]], mu: float
) -> dict[str, torch.Tensor]:
    """Σ mu^(n−1−i)·w_i / Σ mu^(n−1−i) of weights w_0 … w_{n−1}, the oldest first.

    Args:
        checkpoints: each reads one; only one is in memory at a time.
        mu: in (0, 1].

    Returns:
        Tensors in the last one's formats; whole numbers are the last one's.

    Raises:
        ValueError: names or shapes differ.
    """
    number = len(checkpoints)
    shares = [mu ** (number - 1 - index) for index in range(number)]
    total, sums, last = sum(shares), dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    for share, read in zip(shares, checkpoints, strict=True):
        last = dict(read())
        if sums and (odd := sorted(sums.keys() ^ last.keys())):
            raise ValueError(f"these are weights of different networks: {odd[0]} is not in all")
        for name, tensor in last.items():
            if name in sums and sums[name].shape != tensor.shape:
                shapes = f"{list(sums[name].shape)} and {list(tensor.shape)}"
                raise ValueError(f"these are weights of different networks: {name} is {shapes}")
            part = tensor.double() * (share / total)
            sums[name] = sums[name] + part if name in sums else part
    return {
        name: sums[name].to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in last.items()
    }
