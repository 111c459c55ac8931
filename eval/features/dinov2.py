"""DINOv2's embedding (Oquab et al. 2023): the class token after the last normalisation.

As the model's own picture processor has it: the shorter side resized to 256 pixels (bicubic), the
central 224. Other sizes of a model keep the ratio of 8 to 7.
"""

from eval.features.api import Extractor
from eval.features.dino import embedding_of
from eval.features.weights import local_folder
from toolkit.encoders.loading import Pretrained

PRETRAINED = Pretrained("facebook/dinov2-base", "346 MB")


def find(weights: str | None) -> str:
    """The folder. Raises MissingWeights."""
    return local_folder("dinov2", weights, PRETRAINED)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder or hub id with model and picture processor."""
    return embedding_of(find(weights), device)
