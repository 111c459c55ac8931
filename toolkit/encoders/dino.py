"""DINO and DINOv2 (Caron et al. 2021; Oquab et al. 2023), through transformers.

`embedding` [D] is the class token after the last normalisation, `tokens` [P,D] are the patches.
DINO is `facebook/dino-vitb16`, `facebook/dino-vits8` and so on.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from toolkit.encoders.api import PictureEncoder, Precision
from toolkit.encoders.loading import Pretrained, dtype_of, load, load_model, ready, weights_hash
from toolkit.encoders.pixels import Normalize, side_of

READS, OUTPUTS = "picture", ("embedding", "tokens")
DEFAULT = Pretrained("facebook/dinov2-base", "346 MB")


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS[:1]
) -> PictureEncoder:
    """weights: a folder or repository with the model and its picture processor."""
    from transformers import AutoImageProcessor, AutoModel

    name, dtype = dtype_of(precision, device)
    model = load_model(AutoModel.from_pretrained, weights, DEFAULT, dtype=dtype)
    processor = load(AutoImageProcessor.from_pretrained, weights, DEFAULT)
    return _Dino(ready(model, device, dtype), processor, name, device, outputs)


class _Dino:
    def __init__(
        self, model: Any, processor: Any, precision: str, device: str, outputs: Sequence[str]
    ):
        self._model, self._outputs = model, outputs
        self._normalize = Normalize(processor, device, model.dtype)
        self._first_patch = 1 + getattr(model.config, "num_register_tokens", 0)
        # DINOv2 fits its positions to any size by itself, DINO's ViT has to be told
        takes = inspect.signature(model.forward).parameters
        self._more = (
            {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
        )
        self.size, self.multiple = side_of(processor), model.config.patch_size
        self.identity = {
            "encoder": "dino", "weights": weights_hash([model]), "precision": precision,
            **self._normalize.identity,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        states = self._model(self._normalize(pixels), **self._more).last_hidden_state.float()
        values = {"embedding": states[:, 0], "tokens": states[:, self._first_patch :]}
        return {name: values[name] for name in self._outputs}
