"""Style injection: self-attention that takes its keys and values from a picture of the style.

Chung, Hyun & Heo 2024, "Style Injection in Diffusion" (arXiv 2312.09008), section 3: where the
picture that is made would attend to itself, softmax(τ·Q̃·K_sᵀ/√d)·V_s (Eq. 5 and 7) with the keys
and values of a style picture at the same noise, and queries Q̃ = γ·Q_plain + (1 − γ)·Q_made (Eq. 6),
blended with those of the same picture made without it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional


@dataclass
class Injection:
    """What the attentions of a network share. gamma: γ, 1 keeps what is shown as it would be
    without; temperature: τ, above 1 attends to fewer places; is_on: whether they inject now."""

    gamma: float = 0.75
    temperature: float = 1.5
    is_on: bool = False


class InjectedAttention:
    """An attention processor of diffusers. Where it is on, a batch is three groups of equal size:
    the style's pictures, the plain ones, and those that are made.

    Args:
        base: the processor that computes attention otherwise.
        how: what all of them share.
    """

    def __init__(self, base: Any, how: Injection):
        self._base, self._how = base, how

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **given: Any,
    ) -> torch.Tensor:
        """Attention output [3N,L,D]."""
        if not self._how.is_on or encoder_hidden_states is not None:
            found: torch.Tensor = self._base(
                attn, hidden_states, encoder_hidden_states, attention_mask, **given
            )
            return found
        q, k, v = (part(hidden_states) for part in (attn.to_q, attn.to_k, attn.to_v))
        style, plain, made = q.chunk(3)
        gamma = self._how.gamma
        made = self._how.temperature * (gamma * plain + (1 - gamma) * made)
        query = torch.cat([style, plain, made])
        key, value = (_of_the_style(part) for part in (k, v))
        heads = (
            part.unflatten(2, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        out = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        result: torch.Tensor = attn.to_out[1](attn.to_out[0](out))
        return result


def _of_the_style(part: torch.Tensor) -> torch.Tensor:
    """Keys or values [3N,L,D], the last group's replaced by the first's."""
    style, plain, _ = part.chunk(3)
    return torch.cat([style, plain, style])


def decoder_attentions(unet: Any) -> list[list[Any]]:
    """Self-attentions of the upward half of a diffusers UNet, from the coarsest to the finest:
    those of each transformer together."""
    return [
        [block.attn1 for block in transformer.transformer_blocks]
        for up in unet.up_blocks
        for transformer in getattr(up, "attentions", None) or ()
    ]


def attach(unet: Any, layers: int, how: Injection) -> int:
    """Lets the last `layers` transformers of the upward half inject; returns how many there are."""
    found = decoder_attentions(unet)
    for group in found[len(found) - min(layers, len(found)) :]:
        for attn in group:
            attn.set_processor(InjectedAttention(attn.processor, how))
    return len(found)


def detach(unet: Any) -> None:
    """Puts the processors back that were there before."""
    for group in decoder_attentions(unet):
        for attn in group:
            if isinstance(attn.processor, InjectedAttention):
                attn.set_processor(attn.processor._base)


def with_statistics(of: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """[N,C,h,w] with the mean and deviation that each channel of `like` has (Eq. 8, adaptive
    instance normalisation of the first noise)."""
    mean, std = (of.mean((2, 3), keepdim=True), of.std((2, 3), keepdim=True))
    other, spread = (like.mean((2, 3), keepdim=True), like.std((2, 3), keepdim=True))
    return (of - mean) / std.clamp(min=1e-6) * spread + other
