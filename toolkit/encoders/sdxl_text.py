"""SDXL's two text encoders (Podell et al. 2023, section 2.1), through transformers.

`tokens` [77,D1+D2] are the hidden states before the last layer of both, side by side; `embedding`
[D2] is the pooled and projected one of the second.
"""

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.encoders.api import CaptionEncoder, Precision
from toolkit.encoders.loading import Pretrained, dtype_of, load, load_model, ready, weights_hash

READS, OUTPUTS = "caption", ("tokens", "embedding")
DEFAULT = Pretrained("stabilityai/stable-diffusion-xl-base-1.0", "6.5 GB, half of that as fp16")
PARTS = ("text_encoder", "text_encoder_2")


def open_encoder(
    weights: str | None, device: str, precision: Precision, outputs: Sequence[str] = OUTPUTS
) -> CaptionEncoder:
    """weights: of the whole pipeline."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    name, dtype = dtype_of(precision, device)
    root = weights or DEFAULT.hub_id
    pairs = []
    for part, build in zip(PARTS, (CLIPTextModel, CLIPTextModelWithProjection), strict=True):
        size = Pretrained(f"{root}/{part}", DEFAULT.size)
        model = load_model(build.from_pretrained, f"{root}/{part}", size, dtype=dtype)
        place = f"{root}/{part.replace('text_encoder', 'tokenizer')}"
        tokenizer = load(CLIPTokenizer.from_pretrained, place, size)
        pairs.append((ready(model, device, dtype), tokenizer))
    return _Pair(pairs, name, device, outputs)


class _Pair:
    def __init__(
        self, pairs: Sequence[tuple[Any, Any]], precision: str, device: str, outputs: Sequence[str]
    ):
        self._pairs, self._device, self._outputs = pairs, device, outputs
        self._length = pairs[0][0].config.max_position_embeddings
        self.identity = {
            "encoder": "sdxl_text", "weights": weights_hash(model for model, _ in pairs),
            "precision": precision, "length": self._length,
        }  # fmt: skip

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> dict[str, list[torch.Tensor]]:
        states, found = [], None
        for model, tokenizer in self._pairs:
            tokens = tokenizer(
                list(texts), padding="max_length", max_length=self._length, truncation=True,
                return_tensors="pt",
            )  # fmt: skip
            found = model(tokens.input_ids.to(self._device), output_hidden_states=True)
            states.append(found.hidden_states[-2])
        assert found is not None
        values = {"tokens": torch.cat(states, dim=-1), "embedding": found.text_embeds}
        return {name: list(values[name].float()) for name in self._outputs}
