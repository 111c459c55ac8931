"""What a LoRA is, whatever file it came from.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685), section
4.1: W + (α/r)·B·A, with A [r,in] and B [out,r].
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

COMPONENTS = ("unet", "text_encoder", "text_encoder_2")
"""Parts of a Stable Diffusion pipeline, as diffusers names them."""


@dataclass(frozen=True)
class LoraLayer:
    """What is added to one weight. down: A, [r,in], or [r,in,k,k] of a convolution; up: B, [out,r],
    or [out,r,1,1]; alpha: α."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """r."""
        return len(self.down)

    def delta(self) -> torch.Tensor:
        """(α/r)·B·A in float32, of the shape of the weight it is added to."""
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        shape = (len(self.up), *self.down.shape[1:])
        return product.reshape(shape) * (self.alpha / self.rank)


@dataclass(frozen=True)
class Lora:
    """layers: by component, and by the path of the module whose weight they change, as diffusers
    names it, in text encoders without a leading `text_model.`; about: texts that came with it."""

    layers: Mapping[str, Mapping[str, LoraLayer]]
    about: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, str, LoraLayer]]:
        """(component, path, layer)."""
        for component, layers in self.layers.items():
            for path, layer in layers.items():
                yield component, path, layer

    @property
    def is_sdxl(self) -> bool:
        """Whether it is for SDXL, as far as one can see: its cross-attention is 2048 wide, or it
        has a second text encoder."""
        if self.layers.get("text_encoder_2"):
            return True
        unet = self.layers.get("unet", {})
        return any(
            layer.down.shape[1] == 2048 for path, layer in unet.items() if ".attn2.to_k" in path
        )


def without_prefix(path: str) -> str:
    """A text encoder's module by the name that transformers ≥ 5.6 gives it."""
    return path.removeprefix("text_model.")


def with_prefix(path: str) -> str:
    """… and by the one that all before it did, and every other program does."""
    return path if path.startswith(("text_model.", "text_projection")) else f"text_model.{path}"
