"""The Haar wavelet transform as a latent space: no weights, and exactly invertible.

Each of `LEVELS` steps turns every 2×2 square into its sum and three differences (Haar 1910; halved,
the step is orthonormal and keeps the norm of a picture). What is stored are the sums and
differences themselves, whole numbers, so nothing is rounded, there or back.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.encoders.api import Codec, Precision

READS, OUTPUTS = "picture", ("latent",)
LEVELS = 3


def to_latents(
    identity: Mapping[str, Any], encoded: torch.Tensor, noise: torch.Tensor | None = None
) -> torch.Tensor:
    """As `Codec.latents`, of any encoder with that identity."""
    return encoded.float() / (128 * 2 ** identity["levels"])


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> Codec:
    """Raises UserError for weights, since there are none."""
    if weights:
        raise UserError(f"weights={weights}: the Haar transform has none, leave it out")
    return _Haar(device)


class _Haar:
    channels, factor, size, multiple = 3 * 4**LEVELS, 2**LEVELS, 512, 2**LEVELS

    def __init__(self, device: str):
        self._device = device
        self.identity = {"encoder": "haar", "weights": "", "precision": "fp32", "levels": LEVELS}

    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        values = pixels.to(self._device, torch.int16) - 128
        for _ in range(LEVELS):
            values = _split(values)
        return {"latent": values}  # int16: at most 128 times 64 pixels

    def latents(self, encoded: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        return to_latents(self.identity, encoded)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        values = latents.to(self._device).float() * 128 * 2**LEVELS
        for _ in range(LEVELS):
            values = _join(values)
        return (values + 128) / 127.5 - 1


def _split(values: torch.Tensor) -> torch.Tensor:
    """[N,C,H,W] to [N,4C,H/2,W/2]: the sums of all channels, then each kind of difference."""
    a, b = values[..., ::2, ::2], values[..., ::2, 1::2]
    c, d = values[..., 1::2, ::2], values[..., 1::2, 1::2]
    parts = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
    return torch.cat(parts, dim=1)


def _join(values: torch.Tensor) -> torch.Tensor:
    s, x, y, z = (values / 4).chunk(4, dim=1)
    top = torch.stack((s + x + y + z, s - x + y - z), dim=-1).flatten(-2)
    bottom = torch.stack((s + x - y - z, s - x - y + z), dim=-1).flatten(-2)
    return torch.stack((top, bottom), dim=-2).flatten(-3, -2)
