"""Pixels as a latent space: no weights, nothing lost, nothing smaller. For small pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.encoders.api import Codec, Precision

READS, OUTPUTS = "picture", ("latent",)


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> Codec:
    """Raises UserError for weights, since there are none."""
    if weights:
        raise UserError(f"weights={weights}: pixels have none, leave it out")
    return _Rgb(device)


def to_latents(
    identity: Mapping[str, Any], encoded: torch.Tensor, noise: torch.Tensor | None = None
) -> torch.Tensor:
    """As `Codec.latents`, of any encoder with that identity."""
    return encoded.float() / 127.5 - 1


class _Rgb:
    channels, factor, size, multiple = 3, 1, 64, 1

    def __init__(self, device: str):
        self._device = device
        self.identity = {"encoder": "rgb", "weights": "", "precision": "fp32"}

    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"latent": pixels.to(self._device)}

    def latents(self, encoded: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        return to_latents(self.identity, encoded)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.to(self._device).float().clamp(-1, 1)
