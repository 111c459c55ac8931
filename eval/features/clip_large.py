"""As `clip`, of ViT-L/14, the model that the competition retrieves prompts with."""

from eval.features.api import Extractor
from eval.features.clip import FILES, towers_of
from eval.features.weights import local_folder
from toolkit.encoders.loading import Pretrained

PRETRAINED = Pretrained("openai/clip-vit-large-patch14", "1.7 GB", FILES)


def find(weights: str | None) -> str:
    """The folder. Raises MissingWeights."""
    return local_folder("clip_large", weights, PRETRAINED)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder or hub id with model, tokenizer and processor."""
    return towers_of(find(weights), device)
