"""SDXL's U-Net on pixels: patches go in where its first levels would have made features, and come
out where its last levels would have taken them up.

After kohya-ss/pixel-space-sdxl, and for the bottleneck JiT (Li & He 2025, arXiv 2511.13720).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

GROUPS = 32


@dataclass(frozen=True)
class Sizes:
    """Of a network. patch: pixels a side; level: of SDXL's U-Net at which patches go in, its first
    level being 0; hidden: channels of encoder and decoder; blocks: residual ones of each;
    bottleneck: numbers that a patch is first brought down to, 0 for none."""

    patch: int
    level: int
    hidden: int
    blocks: int
    bottleneck: int = 0


SIZES = {64: Sizes(16, 1, 512, 3), 32: Sizes(32, 2, 768, 4)}
"""By `base_resolution`: patches a side of a picture of 1,024 pixels."""


class ResidualConvBlock(nn.Module):
    """Two convolutions beside a shortcut; what comes out is activated."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1), _norm(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1), _norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,C,h,w] to the same."""
        h = self.norm2(self.conv2(functional.silu(self.norm1(self.conv1(x)))))
        return functional.silu(x + h)


class PatchEncoder(nn.Module):
    """Pixels [N,3,H,W] to features [N,C,H/patch,W/patch]."""

    def __init__(self, sizes: Sizes, channels: int):
        super().__init__()
        self.patch, inside = sizes.patch, 3 * sizes.patch**2
        entry: nn.Module = nn.Conv2d(inside, sizes.hidden, 1)
        if sizes.bottleneck:
            narrow = nn.Conv2d(inside, sizes.bottleneck, 1, bias=False)
            entry = nn.Sequential(narrow, nn.Conv2d(sizes.bottleneck, sizes.hidden, 1))
        self.net = _layers(entry, sizes, channels)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Both sides are multiples of the patch."""
        found: torch.Tensor = self.net(functional.pixel_unshuffle(pixels, self.patch))
        return found


class PatchDecoder(nn.Module):
    """Features [N,C,h,w] to pixels [N,3,h·patch,w·patch]."""

    def __init__(self, sizes: Sizes, channels: int):
        super().__init__()
        self.patch = sizes.patch
        self.net = _layers(nn.Conv2d(channels, sizes.hidden, 1), sizes, 3 * sizes.patch**2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The picture."""
        return functional.pixel_shuffle(self.net(features), self.patch)


class Body(nn.Module):
    """The levels of SDXL's U-Net from `level` on, with diffusers' modules and names.

    What is taken from the U-Net is taken away from it. Dropped are the first convolution, the
    levels before `level`, the upsampling to them, and what made the noise of features.
    """

    def __init__(self, unet: Any, level: int):
        super().__init__()
        self.time_proj, self.time_embedding = unet.time_proj, unet.time_embedding
        self.add_time_proj, self.add_embedding = unet.add_time_proj, unet.add_embedding
        down, up = list(enumerate(unet.down_blocks)), list(enumerate(unet.up_blocks))
        self.down_blocks = nn.ModuleDict({str(number): block for number, block in down[level:]})
        self.mid_block = unet.mid_block
        self.up_blocks = nn.ModuleDict({str(number): block for number, block in up[:-level]})
        up[-level - 1][1].upsamplers = None
        widths = unet.config.block_out_channels
        self.level, self.channels_in, self.channels_out = level, widths[level - 1], widths[level]

    def forward(
        self, features: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor, pooled: torch.Tensor,
        sizes: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """[N,C,h,w] to [N,C',h,w]. t: 0 to 999; tokens: [N,L,D]; pooled: [N,P]; sizes: int64 [N,6],
        height and width of the original, top and left of the cut, height and width of the picture
        (arXiv 2307.01952, section 2.2)."""
        emb = self.embedded(t, pooled, sizes, features.dtype)
        skips = [features]
        h = features
        for block in self.down_blocks.values():
            h, more = block(h, emb, encoder_hidden_states=tokens)
            skips += more
        h = self.mid_block(h, emb, encoder_hidden_states=tokens)
        ups: Any = self.up_blocks.values()
        for block in ups:
            count = len(block.resnets)
            taken, skips = tuple(skips[-count:]), skips[:-count]
            h = block(
                h, temb=emb, res_hidden_states_tuple=taken, encoder_hidden_states=tokens,
                upsample_size=skips[-1].shape[2:] if skips else None,
            )  # fmt: skip
        return h

    def embedded(
        self, t: torch.Tensor, pooled: torch.Tensor, sizes: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        """What every block is told: time, pooled text and sizes, [N,D]."""
        told = self.add_time_proj(sizes.flatten()).reshape(len(sizes), -1).to(dtype)
        about = self.add_embedding(torch.cat([pooled.to(dtype), told], dim=-1))
        found: torch.Tensor = self.time_embedding(self.time_proj(t).to(dtype)) + about
        return found

    def enable_gradient_checkpointing(self) -> None:
        """Blocks recompute their activations in the backward pass."""
        modules: Any = self.modules()
        for module in modules:
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = True  # as diffusers' whole models set it
                module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


class PixelUNet(nn.Module):
    """Predicts a picture from a noisy one."""

    def __init__(self, unet: Any, sizes: Sizes):
        super().__init__()
        self.body = Body(unet, sizes.level)
        self.patch_encoder = PatchEncoder(sizes, self.body.channels_in)
        self.patch_decoder = PatchDecoder(sizes, self.body.channels_out)

    def forward(
        self, noisy: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor, pooled: torch.Tensor,
        sizes: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """float [N,3,H,W] to the same; arguments as of `Body`."""
        found: torch.Tensor = self.patch_decoder(
            self.body(self.patch_encoder(noisy), t, tokens, pooled, sizes)
        )
        return found


def _layers(entry: nn.Module, sizes: Sizes, channels: int) -> nn.Sequential:
    blocks = (ResidualConvBlock(sizes.hidden) for _ in range(sizes.blocks))
    last = nn.Conv2d(sizes.hidden, channels, 1)
    return nn.Sequential(entry, _norm(sizes.hidden), nn.SiLU(), *blocks, last)


def _norm(channels: int) -> nn.GroupNorm:
    """Of 32 groups, or as many as there can be."""
    most = range(min(GROUPS, channels), 0, -1)
    return nn.GroupNorm(next(count for count in most if channels % count == 0), channels)
