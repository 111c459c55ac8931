"""T5's encoder (Raffel et al. 2020; v1.1), through transformers, as PixArt-alpha uses it.

`tokens` [L,D] are the last hidden states of the L places that are not padding, of at most 120:
padding is masked in the attention that reads them, and would be most of what is stored.
"""

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.encoders.api import CaptionEncoder, Precision
from toolkit.encoders.loading import (
    Pretrained,
    beside,
    dtype_of,
    inside,
    load,
    load_model,
    ready,
    weights_hash,
)

READS, OUTPUTS = "caption", ("tokens",)
DEFAULT = Pretrained("PixArt-alpha/PixArt-XL-2-512x512/text_encoder", "19 GB")
MAX_LENGTH = 120


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> CaptionEncoder:
    """weights: a flat folder or repository, or `…/text_encoder` of a pipeline, with its `tokenizer`
    beside it; also the folder of a whole pipeline."""
    from transformers import AutoTokenizer, T5EncoderModel

    name, dtype = dtype_of(precision, device)
    where = inside(weights or DEFAULT.hub_id, "text_encoder")
    model = load_model(T5EncoderModel.from_pretrained, where, DEFAULT, dtype=dtype)
    place = beside(where, "text_encoder", "tokenizer")
    tokenizer = load(AutoTokenizer.from_pretrained, place, DEFAULT)
    return _T5(ready(model, device, dtype), tokenizer, name, device)


class _T5:
    def __init__(self, model: Any, tokenizer: Any, precision: str, device: str):
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self.identity = {
            "encoder": "t5", "weights": weights_hash([model]), "precision": precision,
            "length": MAX_LENGTH,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> dict[str, list[torch.Tensor]]:
        tokens = self._tokenizer(
            [text.lower().strip() for text in texts],  # as PixArt-alpha's pipeline does
            padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt",
        ).to(self._device)  # fmt: skip
        states = self._model(tokens.input_ids, attention_mask=tokens.attention_mask)
        lengths = tokens.attention_mask.sum(dim=1).tolist()
        rows = zip(states.last_hidden_state.float(), lengths, strict=True)
        return {"tokens": [row[:length] for row, length in rows]}
