"""The autoencoder of latent diffusion models, through diffusers' `AutoencoderKL`.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models". Its encoder
gives the mean and log-variance of a normal distribution.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.encoders.api import Codec, Precision
from toolkit.encoders.loading import Pretrained, dtype_of, inside, load_model, ready, weights_hash
from toolkit.encoders.overflow import in_full_range
from toolkit.encoders.pixels import signed

READS, OUTPUTS = "picture", ("latent",)
DEFAULT = Pretrained("stabilityai/sd-vae-ft-ema", "335 MB")


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> Codec:
    """weights: also the folder of a whole pipeline, whose `vae` is taken."""
    from diffusers import AutoencoderKL

    name, dtype = dtype_of(precision, device)
    place = inside(weights, "vae") if weights else None
    model = load_model(AutoencoderKL.from_pretrained, place, DEFAULT, torch_dtype=dtype)
    return _Autoencoder(ready(model, device, dtype), name, device)


def to_latents(
    identity: Mapping[str, Any], encoded: torch.Tensor, noise: torch.Tensor | None = None
) -> torch.Tensor:
    """As `Codec.latents`, of any encoder with that identity."""
    mean, logvar = encoded.float().chunk(2, dim=1)
    if noise is not None:  # as in diffusers' DiagonalGaussianDistribution
        mean = mean + noise * (0.5 * logvar.clamp(-30, 20)).exp()
    return (mean - identity["shift_factor"]) * identity["scaling_factor"]


class _Autoencoder:
    def __init__(self, model: Any, precision: str, device: str):
        self._model, self._device, self._dtype = model, device, model.dtype
        config = model.config
        self.channels, self.factor = (
            config.latent_channels,
            2 ** (len(config.block_out_channels) - 1),
        )
        self.size, self.multiple = config.sample_size, self.factor
        self._scale, self._shift = config.scaling_factor, config.shift_factor or 0.0
        self.identity = {
            "encoder": "autoencoder_kl", "weights": weights_hash([model]), "precision": precision,
            "scaling_factor": self._scale, "shift_factor": self._shift,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"latent": self._encoded(signed(pixels.to(self._device), torch.float32))}

    @torch.no_grad()
    def latents_of(self, values: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """As `latents`, of pictures that no eight bits hold: float [N,3,H,W] in [-1,1]."""
        return self.latents(self._encoded(values.to(self._device).float()), noise)

    def latents(self, encoded: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        return to_latents(self.identity, encoded, noise)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        values = latents.to(self._device).float() / self._scale + self._shift
        return in_full_range(self._model, self._pictures, values)[0]

    def _encoded(self, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = in_full_range(self._model, self._moments, values)[0]
        return found

    def _moments(self, values: torch.Tensor) -> torch.Tensor:
        return self._model.encode(values).latent_dist.parameters

    def _pictures(self, values: torch.Tensor) -> torch.Tensor:
        return self._model.decode(values).sample
