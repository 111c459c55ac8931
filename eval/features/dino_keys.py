"""Keys of DINO's last attention layer, heads side by side, which tell parts of things apart.

Tumanyan et al. 2022, "Splicing ViT Features for Semantic Appearance Transfer" (arXiv 2201.00424),
section 3.1: ViT-B/8, the shorter side resized to 224 pixels; the class token is the first row.
"""

import numpy as np

from eval.features.api import Extractor, Features
from eval.features.preprocess import imagenet, shortest_side
from eval.features.weights import local_folder
from toolkit.core.errors import UserError
from toolkit.encoders.loading import Pretrained

PRETRAINED = Pretrained("facebook/dino-vitb8", "343 MB")
SHORTEST_PX = 224


def find(weights: str | None) -> str:
    """The folder. Raises MissingWeights."""
    return local_folder("dino_keys", weights, PRETRAINED)


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder or hub id with a DINO ViT (not DINOv2)."""
    folder = find(weights)
    import torch
    from transformers import AutoModel

    from toolkit.encoders.loading import load_model, ready, weights_hash

    model = load_model(AutoModel.from_pretrained, folder, PRETRAINED, dtype=torch.float32)
    if model.config.model_type != "vit":
        raise UserError(f"--weights=dino_keys:{folder}: a {model.config.model_type}, no DINO ViT")
    model = ready(model, device, torch.float32)
    patch = model.config.patch_size

    @torch.no_grad()
    def keys(pixels: np.ndarray) -> Features:
        seen = shortest_side(pixels, SHORTEST_PX)
        height, width = (n // patch * patch for n in seen.shape[:2])
        states = model(
            imagenet(seen[:height, :width], device), output_hidden_states=True,
            interpolate_pos_encoding=True,
        ).hidden_states  # fmt: skip
        last = model.layers[-1]  # what enters it is the state before the last
        found = last.attention.k_proj(last.layernorm_before(states[-2]))[0]
        return (found.cpu().numpy(),)

    identity = {
        "extractor": "dino_keys", "weights": weights_hash([model]), "shortest_px": SHORTEST_PX,
        "filter": "Pillow bicubic",
    }  # fmt: skip
    return Extractor(identity, kept=False, picture=keys)
