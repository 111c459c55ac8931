"""The tiny autoencoders of madebyollin (TAESD, TAESDXL, TAEF1), through diffusers'
`AutoencoderTiny`: no log-variance, and latents as models see them already."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.encoders.api import Codec, Precision
from toolkit.encoders.loading import Pretrained, dtype_of, inside, load_model, ready, weights_hash
from toolkit.encoders.pixels import signed

READS, OUTPUTS = "picture", ("latent",)
DEFAULT = Pretrained("madebyollin/taesd", "10 MB")


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> Codec:
    """weights: also the folder of a whole pipeline, whose `vae` is taken."""
    from diffusers import AutoencoderTiny

    name, dtype = dtype_of(precision, device)
    place = inside(weights, "vae") if weights else None
    model = load_model(AutoencoderTiny.from_pretrained, place, DEFAULT, torch_dtype=dtype)
    return _Autoencoder(ready(model, device, dtype), name, device)


def to_latents(
    identity: Mapping[str, Any], encoded: torch.Tensor, noise: torch.Tensor | None = None
) -> torch.Tensor:
    """As `Codec.latents`, of any encoder with that identity."""
    return (encoded.float() - identity["shift_factor"]) * identity["scaling_factor"]


class _Autoencoder:
    def __init__(self, model: Any, precision: str, device: str):
        self._model, self._device, self._dtype = model, device, model.dtype
        config = model.config
        self.channels = config.latent_channels
        self.factor = 2 ** (len(config.encoder_block_out_channels) - 1)
        self.size, self.multiple = 512, self.factor
        self._scale, self._shift = config.scaling_factor, config.shift_factor or 0.0
        self.identity = {
            "encoder": "autoencoder_tiny", "weights": weights_hash([model]),
            "precision": precision, "scaling_factor": self._scale, "shift_factor": self._shift,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        values = signed(pixels.to(self._device), self._dtype)
        return {"latent": self._model.encode(values).latents.float()}

    def latents(self, encoded: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        return to_latents(self.identity, encoded)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        values = latents.to(self._device).float() / self._scale + self._shift
        return self._model.decode(values.to(self._dtype)).sample.float()
