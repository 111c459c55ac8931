"""CLIP's embeddings of pictures and texts (Radford et al. 2021), ViT-B/32, of length 1.

The shorter side resized to 224 pixels (bicubic), the central 224. Texts are cut at 77 tokens.
"""

import numpy as np

from eval.features.api import Extractor, Features
from eval.features.preprocess import as_batch, centre, shortest_side
from eval.features.weights import local_folder
from toolkit.encoders.loading import Pretrained

FILES = ("*.json", "*.txt", "model.safetensors")
PRETRAINED = Pretrained("openai/clip-vit-base-patch32", "605 MB", FILES)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder or hub id with model, tokenizer and processor."""
    return towers_of("clip", weights, PRETRAINED, device)


def towers_of(name: str, weights: str | None, default: Pretrained, device: str) -> Extractor:
    """Both towers of a CLIP model."""
    folder = local_folder(name, weights, default)
    from toolkit.encoders.api import open_encoder

    pictures = open_encoder("clip_image", folder, device, "fp32", ["embedding"])
    texts = open_encoder("clip_text", folder, device, "fp32", ["embedding"])
    side = pictures.size

    def of_picture(pixels: np.ndarray) -> Features:
        seen = as_batch(centre(shortest_side(pixels, side), side), device)
        return (_unit(pictures.encode(seen)["embedding"][0].cpu().numpy()),)

    def of_text(text: str) -> Features:
        return (_unit(texts.encode([text])["embedding"][0].cpu().numpy()),)

    identity = {
        "picture": dict(pictures.identity), "text": dict(texts.identity), "side": side,
        "filter": "Pillow bicubic",
    }  # fmt: skip
    return Extractor(identity, kept=True, picture=of_picture, text=of_text)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
