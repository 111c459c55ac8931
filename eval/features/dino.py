"""DINO's embedding (Caron et al. 2021), the class token of ViT-S/16.

As DreamBooth's DINO-I has it (Ruiz et al. 2023): the shorter side resized to 256 pixels (bicubic),
the central 224. The hub's processor squashes the picture instead, and gives other numbers.
"""

import numpy as np

from eval.features.api import Extractor, Features
from eval.features.preprocess import as_batch, centre, shortest_side
from eval.features.weights import local_folder
from toolkit.encoders.loading import Pretrained

PRETRAINED = Pretrained("facebook/dino-vits16", "87 MB")
_RESIZED = 8 / 7  # of the side that the network sees: 256 of 224


def find(weights: str | None) -> str:
    """The folder. Raises MissingWeights."""
    return local_folder("dino", weights, PRETRAINED)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder or hub id with model and picture processor."""
    return embedding_of(find(weights), device)


def embedding_of(folder: str, device: str) -> Extractor:
    """The embedding of a transformer of the DINO family."""
    from toolkit.encoders.api import open_encoder

    encoder = open_encoder("dino", folder, device, "fp32")
    side = encoder.size
    resize = round(side * _RESIZED)

    def embedding(pixels: np.ndarray) -> Features:
        seen = centre(shortest_side(pixels, resize), side)
        return (encoder.encode(as_batch(seen, device))["embedding"][0].cpu().numpy(),)

    identity = {**encoder.identity, "resize": resize, "crop": side, "filter": "Pillow bicubic"}
    return Extractor(identity, kept=True, picture=embedding)
