"""What an encoder is: pictures or captions to tensors, and who it was that made them.

An encoder is a file `toolkit/encoders/<name>.py` with

    READS: "picture" or "caption"
    OUTPUTS: names of what it can give, the usual one first
    open_encoder(weights: str | None, device: str, precision: Precision, outputs: Sequence[str])
    to_latents(identity, encoded, noise=None): of codecs, `Codec.latents` without weights

`weights` is a local folder or a hub id; None takes the encoder's own default.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import torch

from toolkit.core.errors import UserError
from toolkit.core.nearest import choices, or_nearest
from toolkit.encoders import encoders

Precision = Literal["auto", "fp32", "bf16", "fp16"]


class PictureEncoder(Protocol):
    """Encodes square pictures. size: pixels a side that it was trained with; multiple: of which
    sides have to be multiples."""

    size: int
    multiple: int

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides its outputs, as JSON values: `encoder`, `weights` (their hash) and
        `precision` among them."""
        ...

    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """pixels: uint8 [N,3,S,S], RGB. Each output [N,…], float32."""
        ...


class Codec(PictureEncoder, Protocol):
    """A picture encoder that can be undone: a latent space.

    Its output `latent` is [N,C,h,w], the mean, or [N,2C,h,w] where a log-variance follows it.
    channels: C; factor: pixels a side of one latent pixel.
    """

    channels: int
    factor: int

    def latents(self, encoded: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """What models see, [N,C,h,w], scaled as the codec's configuration says.

        encoded: the output `latent`. noise: standard normal [N,C,h,w], for a draw from the
        posterior; None takes its mean. Codecs without a log-variance ignore it.
        """
        ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures, float32 [N,3,S,S] in [-1,1], of what models see."""
        ...


class CaptionEncoder(Protocol):
    """Encodes texts."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """As of a picture encoder."""
        ...

    def encode(self, texts: Sequence[str]) -> dict[str, list[torch.Tensor]]:
        """Each output as one float32 tensor a text; tokens are [L,D] with L up to the encoder's
        maximum."""
        ...


def encoder_module(name: str) -> Any:
    """The module of an encoder. Raises UserError for an unknown name."""
    if name not in encoders():
        raise UserError(f"there is no encoder {name!r}: {choices(name, encoders())}")
    return importlib.import_module(f"toolkit.encoders.{name}")


def open_encoder(
    name: str,
    weights: str | None = None,
    device: str = "cpu",
    precision: Precision = "auto",
    outputs: Sequence[str] = (),
) -> Any:
    """An encoder by name.

    Args:
        name: of a file in this folder.
        weights: a local folder or a hub id; the encoder's default otherwise.
        device: as torch names it.
        precision: of the encoder's arithmetic; auto is fp32 on a CPU and bf16 on a GPU.
        outputs: of the encoder's `OUTPUTS`; the first otherwise.

    Raises:
        UserError: an unknown encoder or output; a device or weights that are not there.
    """
    from toolkit.encoders.device import usable_device

    module = encoder_module(name)
    usable_device(device)
    for output in outputs:
        if output not in module.OUTPUTS:
            known = ", ".join(module.OUTPUTS)
            near = or_nearest(output, module.OUTPUTS)
            raise UserError(f"{name} has no output {output!r}: choose from {known}{near}")
    return module.open_encoder(weights, device, precision, tuple(outputs) or module.OUTPUTS[:1])
