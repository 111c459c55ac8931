"""Numbers of weights at full size, and one real step of it."""

from pathlib import Path

import pytest
import torch
from diffusers import PixArtTransformer2DModel

from toolkit.stream.batch import Batch
from train.methods.style_adapter.config import AdapterConfig, Config
from train.methods.style_adapter.control import Control
from train.methods.style_adapter.distilled import Distilled
from train.parts.adapter import attach
from train.parts.purification import Purification
from train.parts.style_tokens import EmbeddingTokens

WIDTH = 1152


def full_size() -> PixArtTransformer2DModel:
    """PixArt-XL-2-512x512."""
    return PixArtTransformer2DModel(
        sample_size=64, num_layers=28, num_attention_heads=16, attention_head_dim=72,
        in_channels=4, out_channels=8, patch_size=2, cross_attention_dim=WIDTH,
        caption_channels=4096, use_additional_conditions=False,
    )  # fmt: skip


def count(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_the_backbone_is_as_large_as_the_real_one() -> None:
    with torch.device("meta"):
        assert count(full_size()) == 610_856_096


@pytest.mark.parametrize(
    ("layers", "dim", "tokens", "weights"),
    [
        (4, 1024, 4, 15_342_340), (4, 768, 4, 14_162_692), (4, 1280, 4, 16_521_988),
        (4, 1024, 16, 29_511_940), (2, 1024, 4, 10_033_922), (8, 1024, 4, 25_959_176),
        (28, 1024, 4, 79_043_356),
    ],
)  # fmt: skip
def test_the_adapter_has_as_many_weights_as_its_table_says(
    layers: int, dim: int, tokens: int, weights: int
) -> None:
    with torch.device("meta"):
        added = attach(full_size(), list(range(28 - layers, 28)), WIDTH, 0.1)
        assert count(added, EmbeddingTokens(dim, tokens, WIDTH)) == weights
        assert count(Purification("gated", WIDTH)) == 2_655_360


@pytest.mark.parametrize("layers", [1, 4])
def test_the_branch_for_the_content_has_as_many_weights_as_the_page_says(layers: int) -> None:
    with torch.device("meta"):
        branch = Control(full_size(), layers)
    before = WIDTH * (WIDTH + 1)
    assert count(branch) == before + layers * 22_583_808


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", ["sdedit", "control"])
def test_a_step_at_full_size_moves_the_adapter_alone(tmp_path: Path, path: str) -> None:
    """Random weights in the hub's layout; batch 1 at 512 pixels, everything read from sidecars."""
    from diffusers import DPMSolverMultistepScheduler

    torch.manual_seed(0)
    full_size().half().save_pretrained(tmp_path / "transformer")
    DPMSolverMultistepScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear"
    ).save_pretrained(tmp_path / "scheduler")
    identity = '{"latent": {"scaling_factor": 0.18215, "shift_factor": 0.0}}'
    config = Config(
        backbone=str(tmp_path), content_path=path, image_size=512, embedding_dim=1024,
        proxy_dim=1024, encoders=identity, control_layers=1, adapter=AdapterConfig(layers=4),
    )  # fmt: skip
    method = Distilled(config, 0)
    student = method.module()
    student.transformer.enable_gradient_checkpointing()
    trained = [p for p in student.parameters() if p.requires_grad]
    if path == "sdedit":
        assert sum(p.numel() for p in trained) == 15_342_340 + 2_655_360
    g = torch.Generator().manual_seed(1)
    there = torch.ones(1, dtype=torch.bool)
    mask = torch.arange(120)[None] < 14
    features = {
        "latent": (torch.randn(1, 8, 64, 64, generator=g), there),
        "content": (torch.randn(1, 8, 64, 64, generator=g), there),
        "text": (torch.randn(1, 120, 4096, generator=g), mask),
        "style": (torch.randn(1, 1024, generator=g), there),
        "proxy": (torch.randn(1, 1024, generator=g), there),
    }
    batch = Batch(
        tasks=("main",), task=torch.zeros(1, dtype=torch.int64), images={}, keys=("a",),
        captions=("a cat",), style_names=(None,), weights=torch.ones(1),
        sample_seed=torch.tensor([4]), features=features,
    )  # fmt: skip
    before = [p.detach().clone() for p in trained]
    frozen = student.transformer.transformer_blocks[0].attn1.to_q.weight.clone()
    optimizer = torch.optim.AdamW(method.param_groups(), lr=1e-4)
    loss = method.training_loss(batch).per_sample.mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    optimizer.step()
    moved = sum(not torch.equal(p, b) for p, b in zip(trained, before, strict=True))
    assert moved > len(trained) / 2
    assert torch.equal(frozen, student.transformer.transformer_blocks[0].attn1.to_q.weight)
