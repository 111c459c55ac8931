"""LPIPS features over AlexNet, the one that LPIPS is usually reported with."""

from eval.features.api import Extractor
from eval.features.lpips_network import open_lpips

TRUNK = ("alexnet-owt-7be5be79.pth", "alexnet", "233 MB")


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: torchvision's file."""
    return open_lpips("alex", weights, device, TRUNK)
