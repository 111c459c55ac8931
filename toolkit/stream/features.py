"""What a sample has beside pixels, or in their place: latents, tokens, embeddings."""

from collections.abc import Sequence
from typing import Protocol

import torch

from toolkit.stream.coalesce import Piece


class FeatureReader(Protocol):
    """Reads one tensor a picture.

    name: under which the batch has it; role: of the pictures that it belongs to. A loader whose
    `roles` leave that role out does not read the pictures themselves.
    """

    name: str
    role: str

    def read(self, pieces: Sequence[Piece | None]) -> tuple[torch.Tensor, torch.Tensor]:
        """(values [N,...], mask [N,...]) of N pictures; the mask is false where a sample has no
        picture in that role, and over the padding of ragged features."""
        ...
