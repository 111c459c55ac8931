"""The tiny autoencoder of FLUX.2's latent space (TAEF2 by madebyollin, MIT licence).

32 channels, 8 times smaller, 2.7 million parameters. diffusers' `AutoencoderTiny` cannot hold it,
since the blocks at the lowest resolution have a branch that looks at the whole picture. Weights
are the two files of the repository, whose keys are indices of plain sequences.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from toolkit.encoders.api import Codec, Precision
from toolkit.encoders.loading import Pretrained, dtype_of, load, ready, weights_hash
from toolkit.encoders.pixels import unit

READS, OUTPUTS = "picture", ("latent",)
DEFAULT = Pretrained("madebyollin/taef2", "5 MB")
FILES = ("taef2_encoder.safetensors", "taef2_decoder.safetensors")
CHANNELS, WIDTH, FACTOR = 32, 64, 8


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> Codec:
    """weights: a folder or repository with both of `FILES`."""
    name, dtype = dtype_of(precision, device)
    encoder, decoder = load(_from_pretrained, weights, DEFAULT)
    return _Autoencoder(ready(encoder, device, dtype), ready(decoder, device, dtype), name, device)


def make_encoder() -> nn.Sequential:
    """Pictures in [0,1], [N,3,S,S], to latents [N,32,S/8,S/8]."""
    layers: list[nn.Module] = [_conv(3, WIDTH), _Block()]
    for has_pool in (False, False, True):
        layers += [_conv(WIDTH, WIDTH, stride=2, bias=False), *(_Block(has_pool) for _ in range(3))]
    return nn.Sequential(*layers, _conv(WIDTH, CHANNELS))


def make_decoder() -> nn.Sequential:
    """Latents [N,32,h,w] to pictures in about [0,1], [N,3,8h,8w]."""
    layers: list[nn.Module] = [_SoftClamp(), _conv(CHANNELS, WIDTH), nn.ReLU()]
    layers += [_Block(has_pool=True) for _ in range(3)]
    for count in (3, 3, 1):
        layers += [nn.Upsample(scale_factor=2), _conv(WIDTH, WIDTH, bias=False)]
        layers += [_Block() for _ in range(count)]
    return nn.Sequential(*layers, _conv(WIDTH, 3))


class _Autoencoder:
    channels, factor, size, multiple = CHANNELS, FACTOR, 512, FACTOR

    def __init__(self, encoder: nn.Module, decoder: nn.Module, precision: str, device: str):
        self._encoder, self._decoder, self._device = encoder, decoder, device
        self._dtype = next(encoder.parameters()).dtype
        self.identity = {
            "encoder": "taef2", "weights": weights_hash([encoder, decoder]), "precision": precision,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        values = unit(pixels.to(self._device), self._dtype)
        return {"latent": self._encoder(values).float()}

    def latents(self, encoded: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        return encoded.float()

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        pictures = self._decoder(latents.to(self._device, self._dtype))
        return pictures.float().clamp(0, 1) * 2 - 1


class _Block(nn.Module):
    def __init__(self, has_pool: bool = False):
        super().__init__()
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH)
        )
        self.pool = (
            nn.Sequential(
                nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False), nn.GroupNorm(4, 4 * WIDTH), nn.ReLU(),
                nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False),
            )
            if has_pool
            else None
        )  # fmt: skip

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.pool is not None:
            values = values + self.pool(values)
        return torch.relu(self.conv(values) + values)


class _SoftClamp(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tanh(values / 3) * 3


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)


def _from_pretrained(where: str, subfolder: str = "") -> tuple[nn.Module, nn.Module]:
    from safetensors.torch import load_file

    modules = (make_encoder(), make_decoder())
    for module, name in zip(modules, FILES, strict=True):
        module.load_state_dict(load_file(_file(where, subfolder, name)))
    return modules


def _file(where: str, subfolder: str, name: str) -> Path:
    if Path(where).is_dir():
        return Path(where) / name
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(where, name, subfolder=subfolder or None))
