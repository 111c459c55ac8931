"""Captions as hashed words: a text encoder that needs no weights and no vocabulary file."""

import re

import torch
from torch import nn

from toolkit.core.keyed import key64

MAX_WORDS = 24


class HashedWords(nn.Module):
    """Embeds a caption's words, each by its hash and by its place from the front and the back.

    A width-3 convolution lets two-word names act as one. Trained from nothing, it serves short
    captions such as Fill50K's; a pretrained text encoder replaces it where there is one.

    Args:
        dim: width of the embeddings.
        buckets: number of hash buckets.
    """

    def __init__(self, dim: int, buckets: int):
        super().__init__()
        self.buckets = buckets
        self.words = nn.Embedding(buckets, dim)
        self.from_front = nn.Embedding(MAX_WORDS, dim)
        self.from_back = nn.Embedding(MAX_WORDS, dim)
        self.neighbours = nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, captions: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings [N,24,dim] and their mask [N,24], 1 for a word; an empty caption keeps one
        masked-in blank, so that attention always has something to look at."""
        device = self.words.weight.device
        lists = [self._ids(caption) for caption in captions]
        ids = torch.zeros(len(lists), MAX_WORDS, dtype=torch.int64)
        back = torch.zeros_like(ids)
        mask = torch.zeros(len(lists), MAX_WORDS)
        for i, row in enumerate(lists):
            count = len(row)
            ids[i, :count] = torch.tensor(row)
            back[i, :count] = torch.arange(count - 1, -1, -1)
            mask[i, :count] = 1
        ids, back, mask = ids.to(device), back.to(device), mask.to(device)
        front = torch.arange(MAX_WORDS, device=device)
        x = self.words(ids) + self.from_front(front)[None] + self.from_back(back)
        x = x * mask[..., None]
        return x + self.neighbours(x.transpose(1, 2)).transpose(1, 2), mask

    def _ids(self, caption: str) -> list[int]:
        words = re.findall(r"[a-z0-9]+", caption.lower())[:MAX_WORDS] or [""]
        return [key64("word", word) % self.buckets for word in words]
