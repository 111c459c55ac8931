"""The isotropic ConvNeXt: one resolution throughout, after Liu et al. 2022 (arXiv 2201.03545, 3.3)
and Woo et al. 2023, conditioned by adaptive group normalisation (Dhariwal & Nichol 2021)."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from train.methods.ot_cfm.config import NetConfig

FREQUENCIES, MAX_PERIOD, GROUPS = 256, 1e4, 32


class IsoNext(nn.Module):
    """Velocities of standardised latents.

    Buffers `mean` and `std` [C,1,1] are what latents are standardised by.

    Args:
        config: sizes; `channels` is C.
        num_styles: label `num_styles` stands for none.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: NetConfig, num_styles: int):
        super().__init__()
        width, cond = config.hidden_dim, config.time_dim
        self.num_styles = num_styles
        self.register_buffer("mean", torch.zeros(config.channels, 1, 1))
        self.register_buffer("std", torch.ones(config.channels, 1, 1))
        self.stem = nn.Conv2d(config.channels, width, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(FREQUENCIES, cond), nn.SiLU(), nn.Linear(cond, cond))
        self.style = nn.Embedding(num_styles + 1, config.style_dim)
        self.style_in = nn.Linear(config.style_dim, cond)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = AdaGN(width, cond)
        self.out = nn.Conv2d(width, config.channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias) if self.out.bias is not None else None
        self.recomputes = False

    def enable_gradient_checkpointing(self) -> None:
        """Recomputes each block's activations in the backward pass."""
        self.recomputes = True

    def forward(self, x: torch.Tensor, t: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """x [N,C,h,w], t [N] in [0,1], style int64 [N] to velocities [N,C,h,w]."""
        cond = self.time(time_features(t).to(x.dtype)) + self.style_in(self.style(style))
        cond = F.silu(cond).to(x.dtype)
        with convolving(x):
            x = self.stem(x)
        for block in self.blocks:
            if self.recomputes and torch.is_grad_enabled():
                x = checkpoint(block, x, cond, use_reentrant=False)
            else:
                x = block(x, cond)
        with convolving(x):
            found: torch.Tensor = self.out(F.silu(self.norm(x, cond)))
        return found


class Block(nn.Module):
    """x + W₂·GELU(W₁·AdaGN(depthwise(x))). The products run over the last dimension, so that
    channels-last memory is used as it lies."""

    def __init__(self, config: NetConfig):
        super().__init__()
        width, inner = config.hidden_dim, config.hidden_dim * config.expansion
        size = config.kernel_size
        self.depthwise = nn.Conv2d(width, width, size, padding=size // 2, groups=width)
        self.norm = AdaGN(width, config.time_dim)
        self.widen = nn.Linear(width, inner)
        self.grn = GRN(inner) if config.grn else nn.Identity()
        self.narrow = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """x [N,D,h,w], cond [N,T] to [N,D,h,w]."""
        with convolving(x):
            y = self.norm(self.depthwise(x), cond).permute(0, 2, 3, 1)
        y = self.narrow(self.grn(F.gelu(self.widen(y))))
        return x + y.permute(0, 3, 1, 2)


class AdaGN(nn.Module):
    """(1 + scale)·GroupNorm(x) + shift, both from the condition and 0 at first."""

    def __init__(self, width: int, cond: int):
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(GROUPS, width), width, affine=False)
        self.affine = nn.Linear(cond, 2 * width)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """x [N,D,h,w], cond [N,T] to [N,D,h,w]."""
        scale, shift = self.affine(cond)[:, :, None, None].chunk(2, dim=1)
        found: torch.Tensor = torch.addcmul(shift, self.norm(x), 1 + scale)
        return found


class GRN(nn.Module):
    """Global response normalisation (Woo et al. 2023, eq. 1 to 3): x + γ·x·N(x) + β, N(x) being the
    norm of a channel over the picture, relative to the mean over channels."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [N,h,w,D] to [N,h,w,D]."""
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        return x + self.gamma * (x * (norm / (norm.mean(-1, keepdim=True) + 1e-6))) + self.beta


def convolving(x: torch.Tensor) -> AbstractContextManager[Any]:
    """On a CPU, keeps convolutions and normalisations of a run in 16 bits in float32: they would
    get slower, gradients counted, and only matrix products faster."""
    return torch.autocast("cpu", enabled=False) if x.device.type == "cpu" else nullcontext()


def time_features(t: torch.Tensor) -> torch.Tensor:
    """Cosines and sines of 1000·t, float32 [N, FREQUENCIES] (Vaswani et al. 2017)."""
    half = FREQUENCIES // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = 1000 * t.float()[:, None] * torch.exp(-math.log(MAX_PERIOD) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def parts_of(net: nn.Module) -> list[dict[str, Any]]:
    """Optimiser groups: matrices with weight decay; vectors and embeddings without."""
    decays = [p for n, p in net.named_parameters() if p.ndim > 1 and n != "style.weight"]
    others = [p for n, p in net.named_parameters() if p.ndim <= 1 or n == "style.weight"]
    return [
        {"name": "matrices", "params": decays, "lr_scale": 1.0},
        {"name": "vectors", "params": others, "lr_scale": 1.0, "weight_decay": 0.0},
    ]
