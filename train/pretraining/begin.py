"""Folders of small pipelines, PixArt and Stable Diffusion: what they begin with, and what training
puts into them."""

import shutil
from pathlib import Path
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.encoders.loading import quiet
from toolkit.store.layout import Layout
from toolkit.store.selection import select
from train.pretraining.autoencoder import FACTOR, LATENT_CHANNELS
from train.pretraining.words import words_of, write_t5_tokenizer

TEXT_DIM = 64


def write_pipeline(layout: Layout, dataset: str, out: Path, size: int, seed: int) -> int:
    """Writes transformer, scheduler, text encoder and tokenizer; returns the transformer's number
    of weights."""
    from diffusers import DPMSolverMultistepScheduler, PixArtTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    captions = select(dataset, dataset, "true", layout).table.column("caption").to_pylist()
    num_words = write_t5_tokenizer(words_of(captions), out / "tokenizer")
    torch.manual_seed(seed)
    T5EncoderModel(
        T5Config(
            vocab_size=num_words, d_model=TEXT_DIM, d_kv=16, d_ff=128, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    ).half().save_pretrained(out / "text_encoder")  # fmt: skip
    transformer: Any = PixArtTransformer2DModel(
        num_attention_heads=4, attention_head_dim=48, num_layers=8, cross_attention_dim=192,
        in_channels=LATENT_CHANNELS, out_channels=2 * LATENT_CHANNELS, patch_size=4,
        sample_size=size // FACTOR, caption_channels=TEXT_DIM, use_additional_conditions=False,
    )  # fmt: skip
    transformer.save_pretrained(out / "transformer")
    # velocities: where all is noise, a small error in it would be a large one in the picture
    scheduler: Any = DPMSolverMultistepScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", prediction_type="v_prediction"
    )
    scheduler.save_pretrained(out / "scheduler")
    return sum(p.numel() for p in transformer.parameters())


def write_stable_diffusion(out: Path, parts: Path, size: int, seed: int) -> int:
    """Writes UNet and scheduler, beside autoencoder and text encoder of `parts`; returns the UNet's
    number of weights. Raises UserError where parts lacks them."""
    from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel

    words = _shared_parts(out, parts)
    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel(
        sample_size=size // FACTOR, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS,
        block_out_channels=(40, 80, 120), layers_per_block=1, norm_num_groups=8,
        attention_head_dim=4, cross_attention_dim=words.config.hidden_size,
        down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3,
    )  # fmt: skip
    unet.save_pretrained(out / "unet")
    # Stable Diffusion's: at its last step something of the picture is left
    scheduler: Any = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        prediction_type="v_prediction",
    )  # fmt: skip
    scheduler.save_pretrained(out / "scheduler")
    return sum(p.numel() for p in unet.parameters())


def write_sdxl(out: Path, parts: Path, size: int) -> None:
    """Writes an SDXL whose U-Net is a configuration alone, beside autoencoder and text encoder of
    `parts`, the latter as both of its own. Raises UserError where parts lacks them."""
    from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection

    words = _shared_parts(out, parts)
    shutil.copytree(out / "tokenizer", out / "tokenizer_2", dirs_exist_ok=True)
    with quiet():
        second = CLIPTextModelWithProjection.from_pretrained(parts / "clip")
    second.half().save_pretrained(out / "text_encoder_2")
    width, pooled = words.config.hidden_size, int(second.config.projection_dim or 0)
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(
            sample_size=size // FACTOR, block_out_channels=(32, 64, 128), norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2), attention_head_dim=(2, 4, 4),
            use_linear_projection=True, cross_attention_dim=2 * width,
            addition_embed_type="text_time", addition_time_embed_dim=32,
            projection_class_embeddings_input_dim=pooled + 6 * 32,
        )  # fmt: skip
    unet.save_config(out / "unet")
    scheduler: Any = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )
    scheduler.save_pretrained(out / "scheduler")


def _shared_parts(out: Path, parts: Path) -> Any:
    """Autoencoder, tokenizer and text encoder, which is returned. Raises UserError."""
    from transformers import CLIPTextModel, CLIPTokenizer

    for name in ("vae", "clip"):
        if not (parts / name).is_dir():
            raise UserError(f"{parts} has no {name}: python -m train.pretrain makes one")
    with quiet():  # about the half that sees pictures, which is not wanted here
        words = CLIPTextModel.from_pretrained(parts / "clip")
    CLIPTokenizer.from_pretrained(parts / "clip").save_pretrained(out / "tokenizer")
    words.half().save_pretrained(out / "text_encoder")
    shutil.copytree(parts / "vae", out / "vae", dirs_exist_ok=True)
    return words


def put_network(out: Path, run: Path, checkpoint: Path | None = None) -> str:
    """Writes a run's transformer or UNet in half precision, and returns which. checkpoint: of the
    run, its last otherwise. Raises UserError where it is no such run."""
    from train.runs import load_config, open_run
    from train.trained import load_trained

    folder = open_run(run)
    settings = load_config(folder.config)
    if getattr(settings.method_config, "trains", "") != "backbone":
        raise UserError(f"{run} trained no backbone: python -m train.run --config=backbone does")
    part = "unet" if settings.method == "dreambooth_lora" else "transformer"
    if not (out / part).is_dir():
        raise UserError(f"{out} is no pipeline with a {part}: {run} trained one")
    method = load_trained(folder, settings, checkpoint).method
    network: Any = method.module()
    network.register_to_config(_name_or_path="")  # where it was begun is nobody's business
    network.half().save_pretrained(out / part)
    _write_index(out, part)
    return part


def _write_index(out: Path, part: str) -> None:
    """model_index.json, with which diffusers opens the folder as a whole."""
    (_pixart(out) if part == "transformer" else _stable_diffusion(out)).save_config(out)


def _stable_diffusion(out: Path) -> Any:
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer

    return StableDiffusionPipeline(
        AutoencoderKL.from_pretrained(out, subfolder="vae"),
        CLIPTextModel.from_pretrained(out / "text_encoder"),
        CLIPTokenizer.from_pretrained(out / "tokenizer"),
        UNet2DConditionModel.from_pretrained(out, subfolder="unet"),
        DPMSolverMultistepScheduler.from_pretrained(out, subfolder="scheduler"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _pixart(out: Path) -> Any:
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtTransformer2DModel,
    )
    from transformers import T5EncoderModel, T5Tokenizer

    return PixArtAlphaPipeline(
        T5Tokenizer.from_pretrained(out / "tokenizer"),
        T5EncoderModel.from_pretrained(out / "text_encoder"),
        AutoencoderKL.from_pretrained(out, subfolder="vae"),
        PixArtTransformer2DModel.from_pretrained(out, subfolder="transformer"),
        DPMSolverMultistepScheduler.from_pretrained(out, subfolder="scheduler"),
    )
