"""Style descriptors of CSD, [768], of length 1.

Somepalli et al. 2024, "Measuring Style Similarity in Diffusion Models" (arXiv 2404.01292): CLIP's
ViT-L/14 trained on to tell styles apart, and a projection of its own. The authors' file has
OpenAI's names of weights; here they are given to transformers' network. The shorter side resized to
224 pixels (bicubic), the central 224.
"""

from pathlib import Path
from typing import Any

import numpy as np

from eval.features.api import Extractor, Features, MissingWeights
from eval.features.preprocess import CLIP_MEAN, CLIP_STD, as_unit, centre, shortest_side
from eval.features.weights import local_folder
from toolkit.core.errors import UserError
from toolkit.encoders.loading import Pretrained, state_of

PRETRAINED = Pretrained("tomg-group-umd/CSD-ViT-L", "1.2 GB")
FILES = ("model.safetensors", "pytorch_model.bin")
_HEAD_WIDTH = 64  # of all of OpenAI's towers
_WHOLE = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
}
_PARTS = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Raises MissingWeights. weights: a folder or hub id with the authors' file, or that file."""
    path = find(weights)
    import torch

    from toolkit.encoders.loading import weights_hash

    tower, projection, side = load_tower(state_of(path), path)
    tower, projection = tower.to(device), projection.to(device)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))

    @torch.no_grad()
    def style(pixels: np.ndarray) -> Features:
        seen = as_unit(centre(shortest_side(pixels, side), side), device)
        found = tower((seen - mean) / std).pooler_output @ projection
        return (torch.nn.functional.normalize(found, dim=1)[0].cpu().numpy(),)

    identity = {
        "extractor": "csd", "weights": weights_hash([tower]), "side": side,
        "filter": "Pillow bicubic",
    }  # fmt: skip
    return Extractor(identity, kept=True, picture=style)


def find(weights: str | None) -> Path:
    """The file. Raises MissingWeights, or UserError where the named one is not there."""
    if weights is not None and Path(weights).is_file():
        return Path(weights)
    folder = Path(local_folder("csd", weights, PRETRAINED))
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    if weights is not None:
        raise UserError(f"--weights=csd:{weights}: there is no {' or '.join(FILES)} in it")
    raise MissingWeights(f"csd: {PRETRAINED.hub_id}", PRETRAINED.command, PRETRAINED.size)


def load_tower(state: dict[str, Any], path: Path) -> tuple[Any, Any, int]:
    """The network with weights of the authors' names, the projection [width,D], and the side in
    pixels of what it sees. Raises UserError."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    from eval.features.weights import fill

    backbone = {
        n.removeprefix("backbone."): t.float()
        for n, t in state.items()
        if n.startswith("backbone.")
    }
    if "last_layer_style" not in state or "conv1.weight" not in backbone:
        raise UserError(f"{path} holds no CSD: there is no last_layer_style in it")
    patches = backbone["conv1.weight"]
    width, patch = patches.shape[0], patches.shape[-1]
    side = round((len(backbone["positional_embedding"]) - 1) ** 0.5) * patch
    num_layers = len({n.split(".")[2] for n in backbone if n.startswith("transformer.")})
    config = CLIPVisionConfig(
        hidden_size=width, patch_size=patch, image_size=side, num_hidden_layers=num_layers,
        num_attention_heads=max(1, width // _HEAD_WIDTH), hidden_act="quick_gelu",
        intermediate_size=backbone["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
    )  # fmt: skip
    tower = CLIPVisionModel(config)
    renamed: dict[str, Any] = {}
    for name, tensor in backbone.items():
        renamed |= _renamed(name, tensor)
    own = next(iter(tower.state_dict())).startswith("vision_model.")
    renamed = {f"vision_model.{n}" if own else n: t for n, t in renamed.items()}
    buffers = {n: t for n, t in tower.state_dict().items() if n.endswith("position_ids")}
    tower = fill(tower, {**buffers, **renamed}, path)
    return tower, state["last_layer_style"].float(), side


def _renamed(name: str, tensor: Any) -> dict[str, Any]:
    """transformers' name of a weight of OpenAI's, which has queries, keys and values in one."""
    first, _, last = name.rpartition(".")
    if name in _WHOLE:
        return {_WHOLE[name]: tensor}
    if first in _WHOLE:
        return {f"{_WHOLE[first]}.{last}": tensor}
    _, _, number, part = name.split(".", 3)
    layer = f"encoder.layers.{number}"
    if part.startswith("attn.in_proj_"):
        kind = part.removeprefix("attn.in_proj_")
        thirds = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{layer}.self_attn.{letter}_proj.{kind}": third for letter, third in thirds}
    owner, _, kind = part.rpartition(".")
    return {f"{layer}.{_PARTS.get(owner, owner)}.{kind}": tensor}
