"""LPIPS features over SqueezeNet, the one of the competition."""

from pathlib import Path

from eval.features.api import Extractor
from eval.features.lpips_network import find_trunk, open_lpips

TRUNK = ("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1", "5 MB")


def find(weights: str | None) -> Path:
    """The file. Raises MissingWeights."""
    return find_trunk("squeeze", weights, TRUNK)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: torchvision's file."""
    return open_lpips("squeeze", weights, device, TRUNK)
