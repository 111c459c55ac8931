"""The small backbone that comes along: what it learned, by diffusers' own pipeline."""

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from tests.conftest import ROOT

WEIGHTS = ROOT / "train/methods/dreambooth_lora/weights"


def test_it_draws_the_colours_of_a_caption() -> None:
    """Fill50K's captions: where the ground is not covered by white, it has its colour."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        WEIGHTS / "tiny", torch_dtype=torch.float32, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    colours = {"red": 0, "green": 1, "blue": 2}
    pictures = pipeline(
        [f"a white circle with {name} background" for name in colours], num_inference_steps=12,
        guidance_scale=3.0, height=64, width=64, output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    for picture, channel in zip(pictures, colours.values(), strict=True):
        others = [other for other in range(3) if other != channel]
        coloured = (picture[..., channel] - picture[..., others].max(-1)) > 0.15
        white = picture.min(-1) > 0.75
        assert coloured.mean() > 0.2
        assert white.mean() > 0.05
        assert np.logical_or(coloured, white).mean() > 0.7
