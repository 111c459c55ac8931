"""A small text-to-image model from nothing, by the real commands, as diffusers opens it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def run(folder: Path, module: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=folder, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_a_backbone_from_nothing(tmp_path: Path) -> None:
    run(tmp_path, "toolkit.pack", "pretraining", "--count=200")
    told = run(tmp_path, "train.pretrain", "begin", "--out=small")
    assert "million weights, nothing learned yet" in told
    told = run(
        tmp_path, "train.pretrain", "autoencoder", "--out=small", "--steps=3", "--batch_size=4"
    )
    assert "dB on held-out pictures" in told
    told = run(tmp_path, "train.pretrain", "clip", "--out=small", "--steps=3", "--batch_size=8")
    assert "find their caption among 32" in told
    run(
        tmp_path, "train.run", "style_adapter", "--config=backbone", "--backbone=small",
        "--steps=2", "--batch_size=4", "--num_pairs=1", "--sample.steps=2", "--eval_size=4",
    )  # fmt: skip
    run(tmp_path, "train.pretrain", "finish", "--out=small", "--run=runs/style_adapter-backbone")

    from diffusers import PixArtAlphaPipeline

    pipeline = PixArtAlphaPipeline.from_pretrained(tmp_path / "small", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        "a red circle with blue background", num_inference_steps=2, height=64, width=64,
        use_resolution_binning=False, output_type="pt", clean_caption=False,
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    assert found.shape == (1, 3, 64, 64)
    assert found.isfinite().all()
    assert found.std() > 0

    run(tmp_path, "train.pretrain", "unet", "--out=small-sd", "--parts=small")
    run(
        tmp_path, "train.run", "dreambooth_lora", "--config=backbone", "--backbone=small-sd",
        "--steps=2", "--batch_size=4", "--num_pairs=1", "--sample.steps=2", "--eval_size=4",
    )  # fmt: skip
    run(
        tmp_path,
        "train.pretrain",
        "finish",
        "--out=small-sd",
        "--run=runs/dreambooth_lora-backbone",
    )
    run(tmp_path, "train.pretrain", "sdxl", "--out=small-sdxl", "--parts=small")
    run(
        tmp_path, "train.run", "pixel_sdxl", "--config=smoke", "--backbone=small-sdxl",
        "--main=pretraining", "--where=true", "--steps=2", "--num_pairs=1", "--sample.steps=2",
        "--eval_size=2",
    )  # fmt: skip

    from diffusers import StableDiffusionPipeline

    small = StableDiffusionPipeline.from_pretrained(
        tmp_path / "small-sd", torch_dtype=torch.float32
    )
    small.set_progress_bar_config(disable=True)
    found = small(
        "a red circle", num_inference_steps=2, height=64, width=64, output_type="pt",
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    assert found.shape == (1, 3, 64, 64)
    assert found.isfinite().all()
