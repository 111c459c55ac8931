"""LPIPS features over VGG-16, the one that training uses as a loss."""

from pathlib import Path

from eval.features.api import Extractor
from eval.features.lpips_network import find_trunk, open_lpips

TRUNK = ("vgg16-397923af.pth", "vgg16", "528 MB")


def find(weights: str | None) -> Path:
    """The file. Raises MissingWeights."""
    return find_trunk("vgg", weights, TRUNK)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: torchvision's file."""
    return open_lpips("vgg", weights, device, TRUNK)
