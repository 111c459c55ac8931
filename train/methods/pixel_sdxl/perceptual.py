"""LPIPS as a loss, in full precision and without the gradients that its package makes infinite."""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from toolkit.core.errors import UserError
from toolkit.encoders.inventory import Weights
from toolkit.encoders.lpips_network import load_network
from train.parts.precision import in_full_precision

_FILE, _SIZE = "vgg16-397923af.pth", "528 MB"
_COMMAND = "python -c \"import torchvision; torchvision.models.vgg16(weights='DEFAULT')\""
_LEAST = 1e-20
"""Added to squared lengths: of a place where all activations are 0 the root has no derivative."""


class Perceptual:
    """LPIPS over VGG-16 (Zhang et al. 2018, arXiv 1801.03924, equation 1) at half size.

    Args:
        weights: torchvision's file; "" for the one in torch.hub's folder.
        device: where it is.

    Raises UserError where there is none, with the command that gets it.
    """

    def __init__(self, weights: str, device: torch.device):
        self._network: Any = load_network("vgg", trunk_of(weights)).to(device)

    def __call__(self, found: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """float [N]. Both float [N,3,H,W]; what exceeds [-1,1] is cut off."""
        with in_full_precision(found.device):
            halves = [self._half(values) for values in (found, pictures)]
            layers = [self._network.net(self._network.scaling_layer(half)) for half in halves]
            total = torch.zeros(len(found), device=found.device)
            for one, other, line in zip(*layers, self._network.lins, strict=True):
                apart = (_unit(one) - _unit(other)).square()
                total = total + line(apart).mean((1, 2, 3))
        return total

    def _half(self, values: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(
            values.float().clamp(-1, 1), scale_factor=0.5, mode="bilinear", align_corners=False
        )


def trunk_of(weights: str) -> Path:
    """The file of VGG-16. Raises UserError as `Perceptual` does."""
    path = Path(weights or Path(torch.hub.get_dir()) / "checkpoints" / _FILE)
    if path.is_file():
        return path
    if weights:
        raise UserError(f"--lpips_weights={weights}: there is no such file")
    raise UserError(
        f"--lpips_weight needs VGG-16 ({_SIZE}): {path} is not there: {_COMMAND} gets it"
    )


def pretrained_trunk(used_by: str) -> Weights:
    """VGG-16 in torch.hub's folder, for a list of weights."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / _FILE
    place = str(path) if path.is_file() else None
    return Weights((used_by,), _FILE, _SIZE, _COMMAND, place)


def _unit(values: torch.Tensor) -> torch.Tensor:
    """Channels of length 1 at each place."""
    return values * (values.square().sum(1, keepdim=True) + _LEAST).rsqrt()
