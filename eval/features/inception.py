"""Inception v3 with the weights of 2015-12-05, through torch-fidelity: what FID and KID are of.

Pictures are resized to 299 × 299 inside the network as TensorFlow 1 did, bilinearly and without
antialiasing. The features are those before the classifier, [2048], and those after the first
pooling, [64].
"""

from pathlib import Path
from typing import Any

import numpy as np

from eval.features.api import Extractor, Features
from eval.features.preprocess import as_batch
from eval.features.weights import placed, torch_file
from toolkit.core.errors import UserError, one_line
from toolkit.encoders.loading import state_of

FILE = "weights-inception-2015-12-05-6726825d.pth"
COMMAND = (
    'python -c "from torch_fidelity.feature_extractor_inceptionv3 import *; '
    "FeatureExtractorInceptionV3('inception-v3-compat', ['2048'])\""
)
LAYERS = ("2048", "64")


def find(weights: str | None) -> Path:
    """The file. Raises MissingWeights."""
    return torch_file("inception", weights, FILE, COMMAND, "95 MB")


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: the file."""
    path = find(weights)
    import torch

    from toolkit.encoders.loading import weights_hash

    network = load_network(path)
    hashed = weights_hash([network])
    network = placed(folded(network), device)

    @torch.no_grad()
    def features(pixels: np.ndarray) -> Features:
        found = network(as_batch(pixels, device))
        return tuple(part[0].cpu().numpy() for part in found)

    identity = {
        "extractor": "inception", "weights": hashed, "layers": list(LAYERS),
        "resize": "299, bilinear as TensorFlow 1", "normalisation": "folded into convolutions",
    }  # fmt: skip
    return Extractor(identity, kept=True, picture=features)


def load_network(path: Path) -> Any:
    """torch-fidelity's network. Raises UserError for a file of something else."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state_of(path)  # torch-fidelity would unpickle whatever is in the file
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", list(LAYERS), str(path))
    except RuntimeError as error:
        raise UserError(f"{path} is no such Inception: {one_line(error)[:120]}") from None
    return network


def folded(network: Any) -> Any:
    """The network with every batch normalisation inside the convolution before it: that takes less
    time and rounds otherwise, by about 4e-7 of the largest feature."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in [m for m in network.modules() if hasattr(m, "conv") and hasattr(m, "bn")]:
        block.conv = fuse_conv_bn_eval(block.conv.eval(), block.bn.eval())
        block.bn = nn.Identity()
    return network
