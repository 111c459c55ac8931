"""Inception v3 trained to tell artists and styles apart, [2048]: what ArtFID is of.

Wright & Ommer 2022, "ArtFID: Quantitative Evaluation of Neural Style Transfer" (arXiv 2207.12280).
Pictures keep their size, in [0,1], as the authors' program takes them; the network averages over
places in the end.
"""

from pathlib import Path

import numpy as np

from eval.features.api import CannotLook, Extractor, Features
from eval.features.preprocess import as_unit
from eval.features.weights import fill, placed, torch_file
from toolkit.encoders.loading import state_of

FILE = "art_inception.pth"
COMMAND = (
    f"hf download matthias-wright/art_inception {FILE} "
    '--local-dir="$(python -c "import torch; print(torch.hub.get_dir())")/checkpoints"'
)
LEAST_PX = 75  # smaller ones vanish inside the network
_HEADS = ("fc", "AuxLogits")  # it has two of each


def find(weights: str | None) -> Path:
    """The file. Raises MissingWeights."""
    return torch_file("art_inception", weights, FILE, COMMAND, "about 100 MB")


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: the file."""
    path = find(weights)
    import torch
    from torchvision.models import Inception3

    from toolkit.encoders.loading import weights_hash

    network = Inception3(aux_logits=False, transform_input=False, init_weights=False)
    network = fill(network, state_of(path), path, _HEADS)
    network.fc = torch.nn.Identity()
    network = placed(network, device)

    @torch.no_grad()
    def features(pixels: np.ndarray) -> Features:
        if min(pixels.shape[:2]) < LEAST_PX:
            raise CannotLook(f"art_inception takes pictures from {LEAST_PX} pixels a side")
        return (network(as_unit(pixels, device))[0].cpu().numpy(),)

    identity = {"extractor": "art_inception", "weights": weights_hash([network]), "resize": "none"}
    return Extractor(identity, kept=True, picture=features)
