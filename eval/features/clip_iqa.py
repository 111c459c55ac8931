"""CLIP's ResNet-50 without positional embeddings, and the pair of texts of CLIP-IQA.

Wang et al. 2023, "Exploring CLIP for Assessing the Look and Feel of Images" (arXiv 2207.12396),
through the package `piq`: pictures keep their size. Embeddings have length 1; of texts it knows the
two that the package has stored, "Good photo." and "Bad photo.".
"""

from pathlib import Path
from typing import Any

import numpy as np

from eval.features.api import CannotLook, Extractor, Features, MissingWeights
from eval.features.preprocess import CLIP_MEAN, CLIP_STD, as_batch
from eval.features.weights import placed
from toolkit.core.errors import UserError, one_line

FOLDER = Path("~/.cache/clip")  # where the package keeps them
NETWORK, TOKENS = "RN50.pt", "clipiqa_tokens.pt"
COMMAND = 'python -c "import piq; piq.CLIPIQA()"'
TEXTS = ("Good photo.", "Bad photo.")
_LEAST_PX = 32


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder with RN50.pt and clipiqa_tokens.pt."""
    return _extractor(*load(weights, device), device, data_range=255.0)


def open_unscaled(weights: str | None, device: str) -> Extractor:
    """As a competition has it, whose scorer gives pictures from 0 to 255 for ones from 0 to 1."""
    return _extractor(*load(weights, device), device, data_range=1.0)


def find(weights: str | None) -> Path:
    """The folder. Raises MissingWeights, or UserError where the named one lacks a file."""
    folder = Path(weights) if weights is not None else FOLDER.expanduser()
    for name in (NETWORK, TOKENS):
        if not (folder / name).is_file():
            if weights is not None:
                raise UserError(f"--weights=clip_iqa:{weights}: there is no {name} in it")
            raise MissingWeights(f"clip_iqa: {name}", COMMAND, "244 MB")
    return folder


def load(weights: str | None, device: str) -> tuple[Any, Any]:
    """The network, and what it makes of both texts, [2,D] of length 1. Raises MissingWeights."""
    folder = find(weights)
    import torch
    from piq.feature_extractors.clip import build_model

    try:
        tensors = torch.jit.load(folder / NETWORK, map_location="cpu").state_dict()
        network = placed(build_model(tensors).float(), device)
    except (RuntimeError, LookupError, AssertionError) as error:
        raise UserError(f"{folder / NETWORK} is no CLIP: {one_line(error)[:120]}") from None
    tokens = torch.load(folder / TOKENS, map_location=device, weights_only=True)
    with torch.no_grad():
        texts = network.encode_text(tokens).float()
    return network, texts / texts.norm(dim=1, keepdim=True)


def _extractor(network: Any, texts: Any, device: str, data_range: float) -> Extractor:
    import torch

    from toolkit.encoders.loading import weights_hash

    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))

    @torch.no_grad()
    def features(pixels: np.ndarray) -> Features:
        if min(pixels.shape[:2]) < _LEAST_PX:
            raise CannotLook(f"CLIP's ResNet takes pictures from {_LEAST_PX} pixels a side")
        seen = (as_batch(pixels, device).float() / data_range - mean) / std
        found = network.encode_image(seen, pos_embedding=False).float()
        found = found / found.norm(dim=1, keepdim=True)
        return (found[0].cpu().numpy(),)

    known = dict(zip(TEXTS, texts.cpu().numpy(), strict=True))

    identity = {
        "extractor": "clip_iqa", "weights": weights_hash([network]), "resize": "none",
        "data_range": data_range,
    }  # fmt: skip
    return Extractor(identity, kept=True, picture=features, text=lambda text: (known[text],))
