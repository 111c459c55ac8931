"""The folder of a small PixArt pipeline: what it begins with, and what training puts into it."""

from pathlib import Path
from typing import Any

import torch

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


def put_transformer(out: Path, run: Path, checkpoint: Path | None = None) -> None:
    """Writes a run's transformer in half precision. checkpoint: of the run, its last otherwise.
    Raises UserError where it is no such run."""
    from toolkit.core.errors import UserError
    from train.runs import load_config, open_run
    from train.trained import load_trained

    folder = open_run(run)
    settings = load_config(folder.config)
    if getattr(settings.method_config, "trains", "") != "backbone":
        raise UserError(f"{run} trained no backbone: python -m train.run --config=backbone does")
    method = load_trained(folder, settings, checkpoint).method
    transformer: Any = method.module()
    transformer.register_to_config(_name_or_path="")  # where it was begun is nobody's business
    transformer.half().save_pretrained(out / "transformer")
    _write_index(out)


def _write_index(out: Path) -> None:
    """model_index.json, with which diffusers opens the folder as a whole."""
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtTransformer2DModel,
    )
    from transformers import T5EncoderModel, T5Tokenizer

    pipeline: Any = PixArtAlphaPipeline(
        T5Tokenizer.from_pretrained(out / "tokenizer"),
        T5EncoderModel.from_pretrained(out / "text_encoder"),
        AutoencoderKL.from_pretrained(out, subfolder="vae"),
        PixArtTransformer2DModel.from_pretrained(out, subfolder="transformer"),
        DPMSolverMultistepScheduler.from_pretrained(out, subfolder="scheduler"),
    )
    pipeline.save_config(out)
