"""What is added to the cross-attention of a frozen diffusers transformer, through its processors.

A style: Ye et al. 2023, "IP-Adapter" (arXiv 2308.06721), Eq. 5: out = W_o(Attn(q, K_text, V_text) +
g·Attn(q, K_style, V_style)), with the frozen query and output projections shared. Here each layer
has one gate g = tanh(γ), started small; at γ = 0 the layer's output is the unadapted one's bit for
bit, because the text path is diffusers' own and untouched.

A condition: what a branch beside the transformer has to say to a block, added to its hidden states
with the attention's output.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

Added = tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]
"""Style tokens [N,T,D]; their strength per sample [N], 0 switches the style off; what is added to
the hidden states [N,L,inner_dim] of the first blocks, one after the other, possibly of none."""


class _Beside(nn.Module):
    """An attention processor that adds to what the one below it gives. Those of this file stack:
    what is added is handed down to a `_Beside`, and to no other processor."""

    def __init__(self, base: Any):
        super().__init__()
        self._base = base

    def forward(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        ip_hidden_states: Added | None = None,
    ) -> torch.Tensor:
        """Attention output [N,L,inner_dim]. The argument's name is one that diffusers passes on
        to processors without a warning."""
        given = (attn, hidden_states, encoder_hidden_states, attention_mask)
        handed = (ip_hidden_states,) if isinstance(self._base, _Beside) else ()
        found: torch.Tensor = self._base(*given, *handed)
        if ip_hidden_states is None:
            return found
        more = self._beside(attn, hidden_states, ip_hidden_states)
        return found if more is None else found + more

    __call__ = forward  # diffusers reads the keyword names off __call__

    def _beside(self, attn: Any, hidden: torch.Tensor, added: Added) -> torch.Tensor | None:
        """What joins the output, of its shape."""
        raise NotImplementedError


class StyleAttention(_Beside):
    """Adds a gated style branch to diffusers' `Attention`.

    Args:
        inner_dim: width of the queries.
        token_dim: D, width of the style tokens.
        base: the processor that computes the text path.
        gate: initial γ.
    """

    def __init__(self, inner_dim: int, token_dim: int, base: Any, gate: float):
        super().__init__(base)
        self.to_k_style = nn.Linear(token_dim, inner_dim, bias=False)
        self.to_v_style = nn.Linear(token_dim, inner_dim, bias=False)
        self.gate = nn.Parameter(torch.full((1,), gate))

    def _beside(self, attn: Any, hidden: torch.Tensor, added: Added) -> torch.Tensor:
        tokens, strength, _ = added
        query = _heads(attn.to_q(hidden), attn.heads)
        key = _heads(self.to_k_style(tokens), attn.heads)
        value = _heads(self.to_v_style(tokens), attn.heads)
        style = functional.scaled_dot_product_attention(query, key, value)
        style = style.transpose(1, 2).flatten(2)
        scale = torch.tanh(self.gate) * strength[:, None, None]
        return scale * functional.linear(style, attn.to_out[0].weight)


class Conditioned(_Beside):
    """Adds what a branch has to say to this block.

    Args:
        number: of the block, from 0.
        base: the processor that computes the rest.
    """

    def __init__(self, number: int, base: Any):
        super().__init__(base)
        self._number = number

    def _beside(self, attn: Any, hidden: torch.Tensor, added: Added) -> torch.Tensor | None:
        residuals = added[2]
        return residuals[self._number] if self._number < len(residuals) else None


def attach(transformer: Any, layers: list[int], token_dim: int, gate: float) -> nn.ModuleDict:
    """Puts a `StyleAttention` on `attn2` of the given blocks of a diffusers transformer.

    Returns the new modules by layer number; they become sub-modules of the transformer too.
    """
    added = nn.ModuleDict()
    for block in layers:
        attn = transformer.transformer_blocks[block].attn2
        module = StyleAttention(attn.inner_dim, token_dim, attn.processor, gate)
        added[str(block)] = module
        attn.set_processor(module)
    return added


def attach_conditions(transformer: Any, count: int) -> None:
    """Lets the first `count` blocks of a diffusers transformer take what a branch adds."""
    for block in range(count):
        attn = transformer.transformer_blocks[block].attn2
        attn.set_processor(Conditioned(block, attn.processor))


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(2, (heads, -1)).transpose(1, 2)
