"""CLIP's text tower (Radford et al. 2021), through transformers.

`tokens` [77,D] are the last hidden states of all places, padding included, as Stable Diffusion 1.x
takes them; `embedding` [D] is the projected one that pictures are compared with.
"""

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.encoders.api import CaptionEncoder, Precision
from toolkit.encoders.loading import (
    Pretrained,
    beside,
    dtype_of,
    load,
    load_model,
    ready,
    weights_hash,
)

READS, OUTPUTS = "caption", ("tokens", "embedding")
DEFAULT = Pretrained("openai/clip-vit-large-patch14", "1.7 GB")


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS[:1]
) -> CaptionEncoder:
    """weights: also `…/text_encoder` of a pipeline, with its `tokenizer` beside it."""
    return _Tower(*open_tower(weights, device, precision), device, outputs)


def open_tower(weights: str | None, device: str, precision: Precision) -> tuple[Any, Any, str]:
    """The model of transformers, its tokenizer, and the precision by its name."""
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    name, dtype = dtype_of(precision, device)
    model = load_model(CLIPTextModelWithProjection.from_pretrained, weights, DEFAULT, dtype=dtype)
    place = beside(weights, "text_encoder", "tokenizer") if weights else None
    tokenizer = load(CLIPTokenizer.from_pretrained, place, DEFAULT)
    return ready(model, device, dtype), tokenizer, name


class _Tower:
    def __init__(
        self, model: Any, tokenizer: Any, precision: str, device: str, outputs: Sequence[str]
    ):
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self._outputs, self._length = outputs, model.config.max_position_embeddings
        self.identity = {
            "encoder": "clip_text", "weights": weights_hash([model]), "precision": precision,
            "length": self._length,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> dict[str, list[torch.Tensor]]:
        tokens = self._tokenizer(
            list(texts), padding="max_length", max_length=self._length, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        found = self._model(tokens.input_ids.to(self._device))
        values = {"tokens": found.last_hidden_state, "embedding": found.text_embeds}
        return {name: list(values[name].float()) for name in self._outputs}
