"""A branch that reads the content's latents, for a diffusion transformer.

Zhang et al. 2023, "ControlNet" (arXiv 2302.05543): trainable copies of the first blocks, joined to
the frozen ones by layers that begin at zero, so that nothing changes at the start. For
transformers, without a decoder to skip to: Chen et al. 2024, "PixArt-δ" (arXiv 2401.05252), section
4. There a copy's output joins that of its block; here it joins the cross-attention's inside the
block, since diffusers lets a processor speak there and nowhere else.
"""

import copy
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Control(nn.Module):
    """Trainable copies of a transformer's first blocks.

    Args:
        transformer: diffusers' `PixArtTransformer2DModel`, frozen.
        count: blocks to copy.
    """

    def __init__(self, transformer: Any, count: int):
        super().__init__()
        width = transformer.inner_dim
        self.before = _zero(width)
        self.blocks = nn.ModuleList(
            copy.deepcopy(block).requires_grad_()
            for block in transformer.transformer_blocks[:count]
        )
        self.after = nn.ModuleList(_zero(width) for _ in range(count))

    def forward(
        self,
        transformer: Any,
        noisy: torch.Tensor,
        t: torch.Tensor,
        content: torch.Tensor,
        text: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """What joins each of the first blocks, [N,L,W].

        Args:
            transformer: whose embeddings of picture, time and text are used as they are.
            noisy, content: latents [N,C,h,w].
            t: the scheduler's timestep, [N].
            text, mask: of the text encoder, [N,T,D] and [N,T].
        """
        hidden = transformer.pos_embed(noisy) + self.before(transformer.pos_embed(content))
        nothing = {"resolution": None, "aspect_ratio": None}
        time, _ = transformer.adaln_single(
            t, nothing, batch_size=len(noisy), hidden_dtype=hidden.dtype
        )
        read = transformer.caption_projection(text)
        bias = (1 - mask.to(hidden.dtype))[:, None] * -10000.0  # as the transformer itself does
        found = []
        recomputes = transformer.gradient_checkpointing and torch.is_grad_enabled()
        for block, after in zip(self.blocks, self.after, strict=True):
            given = (hidden, None, read, bias, time)  # in the order of the block's arguments
            run = partial(checkpoint, block, use_reentrant=False) if recomputes else block
            hidden = run(*given)
            found.append(after(hidden))
        return tuple(found)


def _zero(width: int) -> nn.Linear:
    layer = nn.Linear(width, width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
