"""Numbers of weights at the size of Stable Diffusion 2.1, and one real step of it."""

from pathlib import Path

import pytest
import torch

from tests.full_size import stable_diffusion_2_1, unet_2_1
from tests.train.methods.dreambooth_lora.test_dreambooth_lora import batch_of, config_of
from train.methods.dreambooth_lora.config import LoraConfig
from train.methods.dreambooth_lora.few_shot import FewShot
from train.methods.dreambooth_lora.network import UNET_TARGETS, attach


@pytest.mark.parametrize(("rank", "weights"), [(4, 829_952), (32, 6_639_616), (64, 13_279_232)])
def test_the_adapters_have_as_many_weights_as_their_ranks_say(rank: int, weights: int) -> None:
    """865,910,724 weights of the UNet, as published; 128 projections beside each pair of which lie
    r·(in + out)."""
    with torch.device("meta"):
        unet = unet_2_1().requires_grad_(False)
        assert sum(p.numel() for p in unet.parameters()) == 865_910_724
        attach(unet, rank, 0, UNET_TARGETS)
    trained = [p for p in unet.parameters() if p.requires_grad]
    assert len(trained) == 2 * 128
    assert sum(p.numel() for p in trained) == weights


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_step_of_the_full_size(tmp_path: Path) -> None:
    """512 pixels, random weights, rank 32: the adapters move and nothing else does."""
    torch.manual_seed(0)
    folder = stable_diffusion_2_1(tmp_path / "full")
    method = FewShot(config_of(folder, lora=LoraConfig(32)), 0)
    assert method.config.image_size == 512
    named = dict(method.module().named_parameters())
    before = {name: p.detach().clone() for name, p in named.items() if p.requires_grad}
    frozen = {name: p.detach().double().sum() for name, p in named.items() if not p.requires_grad}
    optimizer = torch.optim.AdamW(method.param_groups(), lr=1e-4)
    loss = method.training_loss(batch_of(512, 1)).per_sample.mean()
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    moved = [n for n, value in before.items() if not torch.equal(value, named[n])]
    assert sum(name.endswith("lora_B.style.weight") for name in moved) == 128
    assert all(torch.equal(total, named[n].detach().double().sum()) for n, total in frozen.items())
