"""The small backbone that comes along: what it learned."""

import numpy as np
import torch
from diffusers import PixArtAlphaPipeline

from tests.conftest import ROOT

WEIGHTS = ROOT / "train/methods/style_adapter/weights"


def test_it_draws_what_a_caption_says() -> None:
    """Fill50K's captions, by diffusers' own pipeline: corners are background."""
    pipeline = PixArtAlphaPipeline.from_pretrained(WEIGHTS / "tiny", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    colours = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}
    pictures = pipeline(
        [f"a white circle with {name} background" for name in colours], num_inference_steps=12,
        guidance_scale=2.0, height=64, width=64, use_resolution_binning=False, output_type="np",
        clean_caption=False, generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    corners = 255 * pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(1)
    distances = np.linalg.norm(corners[:, None] - np.array([*colours.values()])[None], axis=2)
    assert distances.argmin(1).tolist() == [0, 1, 2]
