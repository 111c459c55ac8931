"""Writes a LoRA as kohya's sd-scripts do, which ComfyUI and the web interfaces read as well.

Each module has its own α, and the metadata say rank, α, base and the words that call the style
(`modelspec.*`: Stability AI's model metadata specification 1.0).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from toolkit.core.files import usual_mode
from train.lora.sdxl_names import authors_name
from train.lora.weights import Lora, with_prefix


def write_kohya(lora: Lora, path: Path, more: Mapping[str, str] | None = None) -> None:
    """Writes a file. more: metadata besides, as `modelspec.title`."""
    from safetensors.torch import save, save_file

    is_sdxl = lora.is_sdxl
    state: dict[str, torch.Tensor] = {}
    for component, module, layer in lora:
        name = kohya_name(component, module, is_sdxl)
        state[f"{name}.lora_down.weight"] = layer.down.contiguous().clone()
        state[f"{name}.lora_up.weight"] = layer.up.contiguous().clone()
        state[f"{name}.alpha"] = torch.tensor(layer.alpha)
    ranks, alphas = (
        Counter(found).most_common(1)[0][0]
        for found in ([x.rank for *_, x in lora], [x.alpha for *_, x in lora])
    )
    about = {
        **lora.about,
        "ss_network_module": "networks.lora", "ss_network_dim": str(ranks),
        "ss_network_alpha": f"{alphas:g}", "ss_base_model_version": _base(lora),
        "modelspec.sai_model_spec": "1.0.0", "modelspec.implementation": "diffusers",
        "modelspec.architecture": f"{_architecture(lora)}/lora",
        "sshs_model_hash": _data_hash(save(state)),
        **(more or {}),
    }  # fmt: skip
    with usual_mode(path):
        save_file(state, path, metadata={name: str(value) for name, value in about.items()})


def _data_hash(file: bytes) -> str:
    """sha256 of what follows the header of a safetensors file, as kohya takes it."""
    header = int.from_bytes(file[:8], "little")
    return hashlib.sha256(file[8 + header :]).hexdigest()


def kohya_name(component: str, module: str, is_sdxl: bool) -> str:
    """lora_unet_…, lora_te_…, or, of SDXL, lora_te1_… and lora_te2_…."""
    if component == "unet":
        path = authors_name(f"{module}.")[:-1] if is_sdxl else module
        return f"lora_unet_{path.replace('.', '_')}"
    tower = "lora_te2" if component == "text_encoder_2" else "lora_te1" if is_sdxl else "lora_te"
    return f"{tower}_{with_prefix(module).replace('.', '_')}"


def _base(lora: Lora) -> str:
    return {"stable-diffusion-xl-v1-base": "sdxl_base_v1-0", "stable-diffusion-v2": "sd_v2"}.get(
        _architecture(lora), "sd_v1"
    )


def _architecture(lora: Lora) -> str:
    if lora.is_sdxl:
        return "stable-diffusion-xl-v1-base"
    unet = lora.layers.get("unet", {})
    widths = {layer.down.shape[1] for path, layer in unet.items() if ".attn2.to_k" in path}
    return "stable-diffusion-v2" if 1024 in widths else "stable-diffusion-v1"
