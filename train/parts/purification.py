"""Style tokens freed from what the content has too.

Wang et al. 2024, "InstantStyle" (arXiv 2404.02733), subtract CLIP's embedding of the content from
that of the style picture. Here a content vector stands for the content, and the norm of each token
stays what it was, since what reads the tokens was trained with that.
"""

from typing import Literal

import torch
from torch import nn

Kind = Literal["none", "projection", "gated"]


class Purification(nn.Module):
    """Tokens less their share of a content vector.

    none: s. projection: s − (s·ĉ)ĉ, what is orthogonal to the content. gated: s − σ(W[s;c] + b)⊙c,
    where the gate is learned and begins at σ(b) = 0.12 everywhere.

    Args:
        kind: of these three.
        dim: D, width of the tokens.
    """

    START = -2.0

    def __init__(self, kind: Kind, dim: int):
        super().__init__()
        self.kind = kind
        if kind == "gated":
            self.gate = nn.Linear(2 * dim, dim)
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, self.START)

    def forward(
        self, tokens: torch.Tensor, content: torch.Tensor, present: torch.Tensor
    ) -> torch.Tensor:
        """Purified tokens [N,T,D], each as long as before.

        Args:
            tokens: [N,T,D].
            content: [N,T,D], the content as such tokens, or [N,1,D].
            present: bool [N]; where there is no content, tokens stay as they are.
        """
        if self.kind == "none":
            return tokens
        content = content.expand_as(tokens)
        if self.kind == "projection":
            direction = nn.functional.normalize(content, dim=-1)
            removed = (tokens * direction).sum(-1, keepdim=True) * direction
        else:
            removed = torch.sigmoid(self.gate(torch.cat([tokens, content], -1))) * content
        left = tokens - removed
        length = tokens.norm(dim=-1, keepdim=True)
        restored = left * (length / left.norm(dim=-1, keepdim=True).clamp(min=1e-6))
        return torch.where(present[:, None, None], restored, tokens)
