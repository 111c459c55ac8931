"""The tiny autoencoder of FLUX.2's latent space (TAEF2 by madebyollin, MIT licence).

32 channels, 8 times smaller, 2.7 million parameters. diffusers' `AutoencoderTiny` cannot hold it,
since the blocks at the lowest resolution have a branch that looks at the whole picture. Weights
are the two files of the author's code repository, whose keys are indices of plain sequences, or the
one file on the hub, whose keys follow diffusers and do not count the decoder's soft clamp.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolkit.encoders.api import Codec, Precision
from toolkit.encoders.loading import PLANNED, Pretrained, dtype_of, load, ready, weights_hash
from toolkit.encoders.pixels import unit

READS, OUTPUTS = "picture", ("latent",)
DEFAULT = Pretrained("madebyollin/taef2", "11 MB")
FILES = ("taef2_encoder.safetensors", "taef2_decoder.safetensors")
JOINED = "taef2.safetensors"
CHANNELS, WIDTH, FACTOR = 32, 64, 8


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> Codec:
    """weights: a folder with both of `FILES`; a folder or repository with `JOINED`."""
    name, dtype = dtype_of(precision, device)
    encoder, decoder = load(_from_pretrained, weights, DEFAULT)
    models = [ready(model, device, dtype) for model in (encoder, decoder)]
    for model in models:  # on two cores of an AMD EPYC a third less time
        model.to(memory_format=torch.channels_last)
    return _Autoencoder(models[0], models[1], name, device)


def to_latents(
    identity: Mapping[str, Any], encoded: torch.Tensor, noise: torch.Tensor | None = None
) -> torch.Tensor:
    """As `Codec.latents`, of any encoder with that identity."""
    return encoded.float()


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
        return to_latents(self.identity, encoded)

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


def _from_pretrained(
    where: str, subfolder: str = "", local_files_only: bool = False
) -> tuple[nn.Module, nn.Module]:
    from safetensors.torch import load_file

    folder = Path(where)
    if (folder / PLANNED).is_file():
        with torch.device("meta"):
            return make_encoder(), make_decoder()
    if folder.is_dir() and not any((folder / name).exists() for name in (JOINED, *FILES)):
        raise FileNotFoundError(f"it takes {JOINED}, or {' and '.join(FILES)}")
    if folder.is_dir() and not (folder / JOINED).exists():
        parts = tuple(load_file(folder / name) for name in FILES)
    else:
        parts = _parted(load_file(_joined_file(where, subfolder, local_files_only)))
    modules = (make_encoder(), make_decoder())
    for module, tensors in zip(modules, parts, strict=True):
        module.load_state_dict(tensors)
    return modules


def _joined_file(where: str, subfolder: str, local_files_only: bool) -> Path:
    if Path(where).is_dir():
        return Path(where) / JOINED
    from huggingface_hub import hf_hub_download

    folder = subfolder or None
    return Path(hf_hub_download(where, JOINED, subfolder=folder, local_files_only=local_files_only))


def _parted(joined: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], ...]:
    """The tensors of encoder and decoder, under the keys that the plain sequences give them."""
    parts: tuple[dict[str, torch.Tensor], ...] = ({}, {})
    for key, tensor in joined.items():
        part, _, index, name = key.split(".", 3)  # decoder.layers.3.conv.0.weight
        clamp = part == "decoder"
        parts[clamp][f"{int(index) + clamp}.{name}"] = tensor
    return parts
