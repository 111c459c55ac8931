"""CLIP's opinion of whether a picture still shows its content: optional, for it needs weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from toolkit.core.remembered import Remembered
from toolkit.teaching.fit import fitted

HOW_TO_GET = "--clip=DIR, of `hf download openai/clip-vit-large-patch14`"
_REMEMBERED = 4096


def open_clip(weights: str | None, device: str) -> "ClipContent | None":
    """None where no weights are named."""
    if weights is None:
        return None
    from toolkit.encoders.device import own_device

    return ClipContent(weights, own_device(device))


class ClipContent:
    """Cosines of CLIP's embeddings of pictures and contents (Radford et al. 2021).

    identity: of the encoder, for the card.
    """

    def __init__(self, weights: str, device: str):
        """Loads CLIP's image tower. Raises UserError where it is not there."""
        from toolkit.encoders.api import open_encoder

        self._encoder: Any = open_encoder("clip_image", weights, device, "auto", ("embedding",))
        self.identity: Mapping[str, Any] = self._encoder.identity
        self._contents: Remembered[np.ndarray] = Remembered(_REMEMBERED)

    def similarity(
        self, pixels: np.ndarray, content: tuple[tuple[str, str], Callable[[], np.ndarray]]
    ) -> float:
        """In [-1,1]; of uint8 [H,W,3]. content: its dataset and key, and what makes its pixels."""
        place, make = content
        embedded = self._contents.get(place, lambda: self._embedded(make()))
        return float(self._embedded(pixels) @ embedded)

    def _embedded(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        size = self._encoder.size
        square = np.ascontiguousarray(fitted(pixels, size, size))
        values = torch.from_numpy(square.copy()).permute(2, 0, 1)[None]
        found = self._encoder.encode(values)["embedding"][0].float().cpu().numpy()
        unit: np.ndarray = found / np.linalg.norm(found)
        return unit
