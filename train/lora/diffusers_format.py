"""Writes a LoRA as diffusers does: `pipe.load_lora_weights(FOLDER)` reads it.

Names of text encoders keep the `text_model.` that transformers dropped in 5.6: programs with an
older transformers need it, and diffusers takes it off again where it has to. Ranks and α stand in
the metadata, since without them every reader takes α for the rank.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from train.lora.weights import Lora, LoraLayer, with_prefix


def write_diffusers(lora: Lora, path: Path) -> None:
    """Writes a file; pytorch_lora_weights.safetensors is found by its folder alone."""
    from diffusers import StableDiffusionXLPipeline

    parts: dict[str, Any] = {}
    for component, layers in lora.layers.items():
        parts[f"{component}_lora_layers"] = _tensors(component, layers)
        parts[f"{component}_lora_adapter_metadata"] = adapter_metadata(layers)
    StableDiffusionXLPipeline.save_lora_weights(path.parent, weight_name=path.name, **parts)


def adapter_metadata(layers: Mapping[str, LoraLayer]) -> dict[str, Any]:
    """Arguments of peft's `LoraConfig`: ranks, α and modules."""
    rank = Counter(layer.rank for layer in layers.values()).most_common(1)[0][0]
    alpha = Counter(layer.alpha for layer in layers.values()).most_common(1)[0][0]
    return {
        "r": rank,
        "lora_alpha": alpha,
        # peft compares the ends of names, so these hold with and without `text_model.`
        "rank_pattern": {p: layer.rank for p, layer in layers.items() if layer.rank != rank},
        "alpha_pattern": {p: layer.alpha for p, layer in layers.items() if layer.alpha != alpha},
        "target_modules": sorted(layers),
        "lora_bias": False,
        "use_dora": False,
    }


def _tensors(component: str, layers: Mapping[str, LoraLayer]) -> dict[str, torch.Tensor]:
    found = {}
    for path, layer in layers.items():
        name = path if component == "unet" else with_prefix(path)
        middle = "lora" if component == "unet" else "lora_linear_layer"
        found[f"{name}.{middle}.down.weight"] = layer.down.contiguous().clone()
        found[f"{name}.{middle}.up.weight"] = layer.up.contiguous().clone()
    return found
