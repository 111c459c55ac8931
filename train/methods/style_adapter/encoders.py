"""The frozen encoders around a backbone: its autoencoder, its text encoder, and CLIP.

Each is loaded when it is first asked for, so that pictures without captions are made without T5.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from toolkit.encoders.api import open_encoder
from train.methods.style_adapter.config import Config, place_of

Text = tuple[torch.Tensor, torch.Tensor]
"""Tokens [N,L,D] and their mask [N,L], 1 where there is one."""


class Encoders:
    """What a configuration names. device, precision: where and in what they work."""

    def __init__(self, config: Config, device: str = "cpu", precision: Any = "auto"):
        self._config, self._how = config, (device, precision)

    @cached_property
    def autoencoder(self) -> Any:
        """The backbone's."""
        return open_encoder("autoencoder_kl", f"{place_of(self._config.backbone)}/vae", *self._how)

    @cached_property
    def _text(self) -> Any:
        return open_encoder("t5", f"{place_of(self._config.backbone)}/text_encoder", *self._how)

    @cached_property
    def _clip(self) -> Any:
        return open_encoder(
            "clip_image",
            place_of(self._config.image_encoder),
            *self._how,
            outputs=("embedding", "tokens"),
        )

    @cached_property
    def _clip_text(self) -> Any:
        return open_encoder(
            "clip_text", place_of(self._config.image_encoder), *self._how, outputs=("embedding",)
        )

    def facts(self) -> tuple[tuple[int, int], dict[str, Any]]:
        """Widths of CLIP's embedding and of its patches, and who they are, by name."""
        names = {"latent": self.autoencoder, "text": self._text, "style": self._clip}
        identities = {name: dict(encoder.identity) for name, encoder in names.items()}
        return (self._clip.dim, self._clip.width), identities

    def latents(self, pictures: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled latents [N,C,h,w] of pictures, float [N,3,S,S] in [-1,1]. noise: for a draw from
        the posterior, its mean otherwise."""
        encoded = self.autoencoder.encode(_bytes(pictures))["latent"]
        found: torch.Tensor = self.autoencoder.latents(encoded, noise)
        return found

    def pictures(self, latents: torch.Tensor) -> torch.Tensor:
        """float [N,3,S,S] in [-1,1] of scaled latents."""
        found: torch.Tensor = self.autoencoder.decode(latents)
        return found.clamp(-1, 1)

    def styles(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """CLIP's embedding [N,D] and its patches [N,P,W] of pictures, float [N,3,S,S] in [-1,1]."""
        size = self._clip.size
        if pictures.shape[-1] != size:
            pictures = functional.interpolate(
                pictures, (size, size), mode="bicubic", antialias=True, align_corners=False
            )
        found = self._clip.encode(_bytes(pictures))
        return found["embedding"], found["tokens"]

    def embedded(self, captions: Sequence[str]) -> torch.Tensor:
        """CLIP's embeddings of captions, [N,D]."""
        return torch.stack(self._clip_text.encode(captions)["embedding"])

    def text(self, captions: Sequence[str]) -> Text:
        """T5's tokens of captions."""
        rows = self._text.encode(captions)["tokens"]
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
        tokens = pad_sequence(rows, batch_first=True)
        return tokens, mask.to(tokens.device, tokens.dtype)


def _bytes(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 [N,3,S,S]."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
