"""What the presets for cards keep for the backward pass, by the tensors that autograd saves."""

from dataclasses import replace

import pytest
import torch

from train.methods.ot_cfm.config import NetConfig
from train.methods.ot_cfm.net import IsoNext
from train.settings import fresh_config

SD_CHANNELS, SIDE = 4, 64  # latents of 512-pixel pictures


def kept_bytes(config: NetConfig, batch: int, recomputes: bool) -> int:
    """Of one forward pass in bfloat16; shapes alone, nothing is computed."""
    with torch.device("meta"):
        net = IsoNext(replace(config, channels=SD_CHANNELS), 2).to(torch.bfloat16)
        x = torch.empty(batch, SD_CHANNELS, SIDE, SIDE, dtype=torch.bfloat16)
        t = torch.empty(batch, dtype=torch.bfloat16)
        style = torch.zeros(batch, dtype=torch.long)
    if recomputes:
        net.enable_gradient_checkpointing()
    weights = {w.untyped_storage()._cdata for w in (*net.parameters(), *net.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()._cdata
        if storage not in weights:
            kept[storage] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        net(x, t, style)
    return sum(value.untyped_storage().nbytes() for value in kept.values())


@pytest.mark.parametrize(("preset", "card_gb"), [("8gb", 8), ("12gb", 12), ("16gb", 16)])
def test_a_preset_fits_its_card(preset: str, card_gb: int) -> None:
    """What is kept between blocks, one block recomputed, weights with gradients and AdamW."""
    settings = fresh_config("ot_cfm", preset, {})
    net, how = settings.method_config.net, settings.optim
    assert how.gradient_checkpointing
    batch = settings.data.batch_size // how.gradient_accumulation_steps
    two, one = (kept_bytes(replace(net, num_layers=n), batch, False) for n in (2, 1))
    between = kept_bytes(net, batch, True)
    with torch.device("meta"):
        count = sum(w.numel() for w in IsoNext(replace(net, channels=SD_CHANNELS), 2).parameters())
    assert between + (two - one) + 16 * count < 0.9 * card_gb * 1e9


def test_what_the_readme_says_of_the_smallest_card() -> None:
    net = fresh_config("ot_cfm", "8gb", {}).method_config.net
    assert kept_bytes(net, 64, False) == pytest.approx(30e9, rel=0.02)
    assert kept_bytes(replace(net, grn=True), 64, False) == pytest.approx(49e9, rel=0.02)
    assert kept_bytes(net, 64, True) == pytest.approx(3.2e9, rel=0.02)
