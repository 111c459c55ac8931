"""CLIP's embedding of a style picture as tokens that a transformer can attend to."""

import torch
from torch import nn
from torch.nn import functional


class EmbeddingTokens(nn.Module):
    """The embedding of the whole picture as T tokens: one linear map, then layer norm.

    Ye et al. 2023, "IP-Adapter", section 3.2.1. In [N,D], out [N,T,W].
    """

    def __init__(self, embedding_dim: int, num_tokens: int, width: int):
        super().__init__()
        self.num_tokens = num_tokens
        self.proj = nn.Linear(embedding_dim, num_tokens * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Tokens [N,T,W] of an embedding [N,D]."""
        return self.norm(self.proj(embedding).unflatten(1, (self.num_tokens, -1)))


class PatchTokens(nn.Module):
    """T tokens that read the picture's patches: a perceiver resampler.

    Alayrac et al. 2022, "Flamingo", section 3.1; IP-Adapter's plus variants. Learned queries attend
    to the patches and to each other, `depth` times. In [N,P,D], out [N,T,W].
    """

    def __init__(
        self, patch_dim: int, num_tokens: int, width: int, depth: int = 2, inner: int = 512
    ):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, num_tokens, inner) * inner**-0.5)
        self.proj_in = nn.Linear(patch_dim, inner)
        self.layers = nn.ModuleList(_Read(inner) for _ in range(depth))
        self.proj_out = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Tokens [N,T,W] of patches [N,P,D]."""
        patches = self.proj_in(patches)
        tokens = self.queries.expand(len(patches), -1, -1)
        for layer in self.layers:
            tokens = layer(tokens, patches)
        return self.norm(self.proj_out(tokens))


class _Read(nn.Module):
    """Tokens attend to patches and to themselves, then each through a small network."""

    def __init__(self, width: int, head_dim: int = 64):
        super().__init__()
        self.heads = max(1, width // head_dim)
        self.norm_tokens, self.norm_patches = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q, self.to_out = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width, bias=False), nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )  # fmt: skip

    def forward(self, tokens: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        own = self.norm_tokens(tokens)
        read = torch.cat([self.norm_patches(patches), own], 1)
        q, k, v = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.to_q(own), *self.to_kv(read).chunk(2, -1))
        )
        found = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.to_out(found)
        return tokens + self.feed(tokens)
