"""What a sample has beside pixels, or in their place: latents, tokens, embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from toolkit.stream.augment import Augment
from toolkit.stream.coalesce import Piece


class FeatureReader(Protocol):
    """Finds one tensor a picture; the loader reads it, together with everything else.

    name: under which the batch has it; role: of the pictures that it belongs to; otherwise: the
    role whose picture's tensor stands in where a sample has none of that role; empty: what the
    empty caption is encoded as, None for pictures. A loader whose `roles` leave that role out does
    not read the pictures themselves.
    """

    name: str
    role: str
    otherwise: str | None
    empty: torch.Tensor | None

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that decide the tensors; states of the stream carry them."""
        ...

    def check(self, augment: Augment) -> None:
        """Raises UserError where the tensors cannot follow how pictures are cut and flipped."""
        ...

    def locate(
        self,
        pictures: Sequence[Piece | None],
        flipped: Sequence[bool],
        views: Sequence[float | None],
    ) -> list[Piece | str | None]:
        """Where the tensors of some pictures lie; a text says why a picture has none; None where
        there is no picture. flipped, views: of each picture, see `Augment`."""
        ...

    def largest(self) -> int:
        """Bytes of the largest tensor."""
        ...

    def stack(
        self, data: Sequence[bytes | None], dropped: Sequence[bool]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(values [N,...], mask) of what was read; dropped: whose caption is dropped. The mask is
        false where a sample has no picture in that role, and over the padding of ragged tensors."""
        ...
