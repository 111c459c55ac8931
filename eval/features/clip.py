"""CLIP's embeddings of pictures and texts (Radford et al. 2021), ViT-B/32, of length 1.

The shorter side resized to 224 pixels (bicubic), the central 224. Texts are cut at 77 tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.features.api import Extractor, Features
from eval.features.preprocess import as_batch, centre, shortest_side
from eval.features.weights import local_folder
from toolkit.encoders.loading import Pretrained

_WIDE = 512  # other rounding shows at once in sums of so many products, seldom in short ones
FILES = ("*.json", "*.txt", "model.safetensors")
PRETRAINED = Pretrained("openai/clip-vit-base-patch32", "605 MB", FILES)


def find(weights: str | None) -> str:
    """The folder. Raises MissingWeights."""
    return local_folder("clip", weights, PRETRAINED)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder or hub id with model, tokenizer and processor."""
    return towers_of(find(weights), device, together=True)


def towers_of(folder: str, device: str, together: bool = False) -> Extractor:
    """Both towers of a CLIP model. together: whether it is so small that several pictures at once
    are faster."""
    import torch

    from toolkit.encoders.clip_image import open_encoder
    from toolkit.encoders.clip_text import open_tower
    from toolkit.encoders.loading import weights_hash

    pictures: Any = open_encoder(folder, device, "fp32")
    tower, tokenizer, precision = open_tower(folder, device, "fp32")
    side, length = pictures.size, tower.config.max_position_embeddings

    def of_pictures(several: Sequence[np.ndarray]) -> list[Features]:
        seen = [as_batch(centre(shortest_side(p, side), side), device) for p in several]
        return [(_unit(one.cpu().numpy()),) for one in pictures.each(torch.cat(seen))]

    def of_picture(pixels: np.ndarray) -> Features:
        return of_pictures([pixels])[0]

    @torch.no_grad()
    def of_text(text: str) -> Features:
        # without padding, which comes after all that the embedding depends on
        tokens = tokenizer([text], truncation=True, max_length=length, return_tensors="pt")
        found = tower(tokens.input_ids.to(device)).text_embeds[0]
        return (_unit(found.float().cpu().numpy()),)

    identity = {
        "picture": dict(pictures.identity), "side": side, "filter": "Pillow bicubic",
        "text": {"weights": weights_hash([tower]), "precision": precision, "length": length},
    }  # fmt: skip
    several = of_pictures if together and pictures.width >= _WIDE else None
    return Extractor(identity, kept=True, picture=of_picture, text=of_text, several=several)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
