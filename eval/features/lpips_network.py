"""The networks of the package `lpips`, cut so that each picture is looked at once.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv
1801.03924), Eq. 1, version 0.1: at each place of each layer features of length 1 are compared by a
weighted square of their differences, averaged over places and added over layers. So a picture's
features are its normalised activations times the roots of the weights over the places, and LPIPS is
the squared distance of two such lists.

The linear weights are inside the package; the trunks are torchvision's files.
"""

from pathlib import Path

import numpy as np

from eval.features.api import CannotLook, Extractor, Features
from eval.features.preprocess import as_unit
from eval.features.weights import placed, torch_file
from toolkit.encoders.lpips_network import load_network

_LEAST_PX = 35  # AlexNet's last pooling needs them


def find_trunk(trunk: str, weights: str | None, how: tuple[str, str, str]) -> Path:
    """The file. Raises MissingWeights."""
    file, function, size = how
    command = f"python -c \"import torchvision; torchvision.models.{function}(weights='DEFAULT')\""
    return torch_file(f"lpips_{trunk}", weights, file, command, size)


def open_lpips(
    trunk: str, weights: str | None, device: str, how: tuple[str, str, str]
) -> Extractor:
    """One of the three. trunk: alex, vgg or squeeze; weights: torchvision's file; how: its name in
    torch.hub's folder, torchvision's name of the network, and the size of the download.

    Raises MissingWeights.
    """
    path = find_trunk(trunk, weights, how)
    import torch

    from toolkit.encoders.loading import weights_hash

    network = placed(load_network(trunk, path), device)
    roots = [layer.model[-1].weight.clamp(min=0).sqrt() for layer in network.lins]

    @torch.no_grad()
    def features(pixels: np.ndarray) -> Features:
        from lpips import normalize_tensor

        if min(pixels.shape[:2]) < _LEAST_PX:
            raise CannotLook(f"LPIPS takes pictures from {_LEAST_PX} pixels a side")
        scaled = network.scaling_layer(as_unit(pixels, device) * 2 - 1)
        layers = []
        for activation, root in zip(network.net(scaled), roots, strict=True):
            places = activation.shape[2] * activation.shape[3]
            layers.append((normalize_tensor(activation) * root / places**0.5)[0])
        return tuple(layer.cpu().numpy() for layer in layers)

    identity = {
        "extractor": f"lpips_{trunk}", "version": "0.1", "weights": weights_hash([network]),
        "range": "[-1,1]", "resize": "none",
    }  # fmt: skip
    return Extractor(identity, kept=False, picture=features)
