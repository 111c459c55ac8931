"""Noise and times that belong to a sample, not to a batch.

Each sample draws from its own generator, seeded by its `sample_seed`, on the CPU: the values do not
depend on the batch's layout, on ranks or on the device.
"""

from collections.abc import Sequence

import torch


def sample_generators(seeds: torch.Tensor) -> list[torch.Generator]:
    """One CPU generator per sample; seeds int64 [N], each at least 0."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds.tolist()]


def uniform(generators: Sequence[torch.Generator], device: torch.device | str) -> torch.Tensor:
    """float32 [N], one draw from [0, 1) of each generator."""
    return torch.stack([torch.rand((), generator=g) for g in generators]).to(device)


def normal(
    generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str
) -> torch.Tensor:
    """float32 [N, *shape], standard normal, one draw of each generator."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators]).to(device)


def standard_channels(noise: torch.Tensor) -> torch.Tensor:
    """[N,C,h,w] with mean 0 and deviation 1 in each channel of each sample, as fresh noise has.

    Adaptive instance normalisation of the noise that an inversion found: Chung et al. 2024 (arXiv
    2312.09008) bring it to the noise of a style picture, this to the normal distribution.
    """
    mean, std = noise.mean((2, 3), keepdim=True), noise.std((2, 3), keepdim=True)
    return (noise - mean) / std.clamp(min=1e-6)
