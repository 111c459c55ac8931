"""CLIP's picture tower (Radford et al. 2021), through transformers.

`embedding` [D] is the projected one that texts are compared with; `tokens` [1+P,W] are the hidden
states before the last layer, what IP-Adapter's plus variants and resamplers take.
"""

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.encoders.api import PictureEncoder, Precision
from toolkit.encoders.loading import Pretrained, dtype_of, load, load_model, ready, weights_hash
from toolkit.encoders.pixels import Normalize, side_of

READS, OUTPUTS = "picture", ("embedding", "tokens")
DEFAULT = Pretrained("openai/clip-vit-large-patch14", "1.7 GB")


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS[:1]
) -> PictureEncoder:
    """weights: a folder or repository with the model and its picture processor."""
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    name, dtype = dtype_of(precision, device)
    model = load_model(CLIPVisionModelWithProjection.from_pretrained, weights, DEFAULT, dtype=dtype)
    processor = load(CLIPImageProcessor.from_pretrained, weights, DEFAULT)
    return _Tower(ready(model, device, dtype), processor, name, device, outputs)


class _Tower:
    def __init__(
        self, model: Any, processor: Any, precision: str, device: str, outputs: Sequence[str]
    ):
        self._model, self._outputs = model, outputs
        self._normalize = Normalize(processor, device, model.dtype)
        self.size, self.multiple = side_of(processor), model.config.patch_size
        self.width, self.dim = model.config.hidden_size, model.config.projection_dim
        self.identity = {
            "encoder": "clip_image", "weights": weights_hash([model]), "precision": precision,
            **self._normalize.identity,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self._model(
            self._normalize(pixels), output_hidden_states="tokens" in self._outputs,
            interpolate_pos_encoding=pixels.shape[-1] != self._model.config.image_size,
        )  # fmt: skip
        values = {
            "embedding": lambda: found.image_embeds,
            "tokens": lambda: found.hidden_states[-2],
        }
        return {name: values[name]().float() for name in self._outputs}

    @torch.no_grad()
    def each(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings [N,D] of pictures [N,3,S,S] of the size that the model was trained with, each
        projected by itself: a product of one row has other bits than one of several."""
        pooled = self._model.vision_model(self._normalize(pixels)).pooler_output
        return torch.cat([self._model.visual_projection(row[None]) for row in pooled]).float()
