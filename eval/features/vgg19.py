"""Activations of VGG-19 (Simonyan & Zisserman 2015): Gram matrices, and the map of relu3_1.

torchvision's weights and normalisation; pictures keep their size. The Gram matrices are those of
relu1_1, 2_1, 3_1, 4_1 and 5_1, G = F·Fᵀ/(C·H·W) of activations F [C,H·W] (Gatys et al. 2016;
Johnson et al. 2016, Eq. 3), and come first; the last feature is relu3_1 itself, [256,H/4,W/4].
"""

from pathlib import Path

import numpy as np

from eval.features.api import CannotLook, Extractor, Features
from eval.features.preprocess import imagenet
from eval.features.weights import fill, placed, torch_file
from toolkit.encoders.loading import state_of

FILE = "vgg19-dcbb9e9d.pth"
COMMAND = "python -c \"import torchvision; torchvision.models.vgg19(weights='DEFAULT')\""
RELUS = {1: "relu1_1", 6: "relu2_1", 11: "relu3_1", 20: "relu4_1", 29: "relu5_1"}
MAP = "relu3_1"
_LEAST_PX = 16


def find(weights: str | None) -> Path:
    """The file. Raises MissingWeights."""
    return torch_file("vgg19", weights, FILE, COMMAND, "575 MB")


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: torchvision's file."""
    path = find(weights)
    import torch
    import torchvision

    from toolkit.encoders.loading import weights_hash

    vgg = torchvision.models.vgg  # the classifier, four fifths of all weights, is left out
    layers = vgg.make_layers(vgg.cfgs["E"])[:30]
    kept = {f"{n}.{k}" for n, part in enumerate(layers) for k in part.state_dict()}
    found = {n.removeprefix("features."): t for n, t in state_of(path).items()}
    layers = fill(layers, {n: t for n, t in found.items() if n in kept}, path)
    layers = placed(layers, device)

    @torch.no_grad()
    def features(pixels: np.ndarray) -> Features:
        if min(pixels.shape[:2]) < _LEAST_PX:
            raise CannotLook(f"VGG-19 takes pictures from {_LEAST_PX} pixels a side")
        value, grams, chosen = imagenet(pixels, device), [], None
        for number, layer in enumerate(layers):
            value = layer(value)
            if number in RELUS:
                flat = value[0].flatten(1)
                grams.append((flat @ flat.T / flat.numel()).cpu().numpy())
                if RELUS[number] == MAP:
                    chosen = value[0].clone().cpu().numpy()  # the next layer may work in place
        return (*grams, chosen)

    identity = {
        "extractor": "vgg19", "weights": weights_hash([layers]), "layers": list(RELUS.values()),
        "map": MAP, "resize": "none",
    }  # fmt: skip
    return Extractor(identity, kept=False, picture=features)
