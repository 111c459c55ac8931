"""LPIPS features over AlexNet, the one that LPIPS is usually reported with."""

from pathlib import Path

from eval.features.api import Extractor
from eval.features.lpips_network import find_trunk, open_lpips

TRUNK = ("alexnet-owt-7be5be79.pth", "alexnet", "233 MB")


def find(weights: str | None) -> Path:
    """The file. Raises MissingWeights."""
    return find_trunk("alex", weights, TRUNK)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: torchvision's file."""
    return open_lpips("alex", weights, device, TRUNK)
