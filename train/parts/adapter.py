"""Decoupled cross-attention to style tokens, beside the cross-attention to text.

Ye et al. 2023, "IP-Adapter" (arXiv 2308.06721), Eq. 5: out = W_o(Attn(q, K_text, V_text) +
g·Attn(q, K_style, V_style)), with the frozen query and output projections shared. Here each layer
has one gate g = tanh(γ), started small; at γ = 0 the layer's output is the unadapted one's bit for
bit, because the text path is diffusers' own and untouched.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

StyleTokens = tuple[torch.Tensor, torch.Tensor]
"""Style tokens [N,T,D] and their strength per sample [N]; 0 switches the style off."""


class StyleAttention(nn.Module):
    """An attention processor for diffusers' `Attention`, adding a gated style branch.

    Args:
        inner_dim: width of the queries.
        token_dim: D, width of the style tokens.
        base: the processor that computes the text path.
        gate: initial γ.
    """

    def __init__(self, inner_dim: int, token_dim: int, base: Any, gate: float):
        super().__init__()
        self.to_k_style = nn.Linear(token_dim, inner_dim, bias=False)
        self.to_v_style = nn.Linear(token_dim, inner_dim, bias=False)
        self.gate = nn.Parameter(torch.full((1,), gate))
        self._base = base

    def forward(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        ip_hidden_states: StyleTokens | None = None,
    ) -> torch.Tensor:
        """Attention output [N,L,inner_dim]. The argument's name is one that diffusers passes on
        to processors without a warning."""
        text: torch.Tensor = self._base(attn, hidden_states, encoder_hidden_states, attention_mask)
        if ip_hidden_states is None:
            return text
        tokens, strength = ip_hidden_states
        query = _heads(attn.to_q(hidden_states), attn.heads)
        key = _heads(self.to_k_style(tokens), attn.heads)
        value = _heads(self.to_v_style(tokens), attn.heads)
        style = functional.scaled_dot_product_attention(query, key, value)
        style = style.transpose(1, 2).flatten(2)
        scale = torch.tanh(self.gate) * strength[:, None, None]
        return text + scale * functional.linear(style, attn.to_out[0].weight)

    __call__ = forward  # diffusers reads the keyword names off __call__


def attach(transformer: Any, layers: list[int], token_dim: int, gate: float) -> nn.ModuleDict:
    """Puts a `StyleAttention` on `attn2` of the given blocks of a diffusers transformer.

    Returns the new modules by layer number; they become sub-modules of the transformer too.
    """
    processors, added = {}, nn.ModuleDict()
    for name, processor in transformer.attn_processors.items():
        block, _, rest = name.removeprefix("transformer_blocks.").partition(".")
        if rest == "attn2.processor" and int(block) in layers:
            dim = transformer.transformer_blocks[int(block)].attn2.inner_dim
            added[block] = processors[name] = StyleAttention(dim, token_dim, processor, gate)
        else:
            processors[name] = processor
    transformer.set_attn_processor(processors)
    return added


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(2, (heads, -1)).transpose(1, 2)
