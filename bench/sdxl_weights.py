"""SDXL base and IP-Adapter at full size with random weights in fp16, in the layout that the hub has
them in: 11 GB on disk, 8 GB of memory while they are written. What they paint is noise; what they
cost is what the trained ones cost."""

import json
from pathlib import Path
from typing import Any

import torch


def write_weights(folder: Path) -> dict[str, str]:
    """Writes both parts in fp16, unless they are there: what --weights.base and
    --weights.ip_adapter name."""
    base, adapter = folder / "sdxl-base", folder / "ip-adapter"
    done = folder / "sdxl.done"
    if not done.exists():
        _write_base(base)
        _write_adapter(adapter, base)
        done.touch()
    return {"base": str(base), "ip_adapter": str(adapter)}


def _write_base(folder: Path) -> None:
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
    )

    for name in ("tokenizer", "tokenizer_2"):
        _write_tokenizer(folder / name)
    with _halves():
        unet = UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), layers_per_block=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048, use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=1024, scaling_factor=0.13025, force_upcast=True,
        )  # fmt: skip
        tokens = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
        first = CLIPTextModel(CLIPTextConfig(
            **tokens, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
            num_attention_heads=12, projection_dim=768,
        ))  # fmt: skip
        second = CLIPTextModelWithProjection(CLIPTextConfig(
            **tokens, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32,
            num_attention_heads=20, projection_dim=1280, hidden_act="gelu",
        ))  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        timestep_spacing="leading", steps_offset=1,
    )  # fmt: skip
    tokenizers = [CLIPTokenizer.from_pretrained(folder / f"tokenizer{n}") for n in ("", "_2")]
    StableDiffusionXLPipeline(
        vae, first, second, *tokenizers, unet, scheduler, add_watermarker=False
    ).save_pretrained(folder)


def _write_adapter(folder: Path, base: Path) -> None:
    from accelerate import init_empty_weights
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    width, tokens, embedded = 2048, 4, 1280
    with _halves():
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(
            hidden_size=1664, intermediate_size=8192, num_hidden_layers=48, image_size=224,
            num_attention_heads=16, patch_size=14, projection_dim=embedded, hidden_act="gelu",
        ))  # fmt: skip
    encoder.save_pretrained(folder / "sdxl_models" / "image_encoder")
    with init_empty_weights():
        config = UNet2DConditionModel.load_config(base, subfolder="unet")
        unet: Any = UNet2DConditionModel.from_config(config)
    state = {
        "image_proj.proj.weight": _noise(width * tokens, embedded),
        "image_proj.proj.bias": _noise(width * tokens),
        "image_proj.norm.weight": torch.ones(width).half(),
        "image_proj.norm.bias": torch.zeros(width).half(),
    }
    for number, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            side = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            for part in ("k", "v"):
                state[f"ip_adapter.{number}.to_{part}_ip.weight"] = _noise(side, width)
    save_file(state, folder / "sdxl_models" / "ip-adapter_sdxl.safetensors")


class _halves:
    """New modules have fp16 weights inside the block, so that they need half the memory."""

    def __enter__(self) -> None:
        self._before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float16)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(self._before)


def _noise(*shape: int) -> torch.Tensor:
    return (torch.randn(*shape) * 0.02).half()


def _write_tokenizer(folder: Path) -> None:
    """A token a letter, which is enough for a caption of the usual number of tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(letter + "</w>" for letter in letters)]
    names += [f"<|unused{number}|>" for number in range(49406 - len(names))]
    names += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
