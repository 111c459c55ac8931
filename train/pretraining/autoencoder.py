"""An `AutoencoderKL` of a few hundred thousand weights, from nothing.

Rombach et al. 2022, without their perceptual and adversarial losses, whose networks would have to
be pretrained themselves: absolute error of the pixels and of their differences, which keeps edges.
"""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from toolkit.store.layout import Layout
from train.pretraining.fit import Recipe, fit
from train.pretraining.stream import held_out, pictures

LATENT_CHANNELS, FACTOR = 4, 2
DIVERGENCE = 1e-5
"""Weight of the Kullback-Leibler term, per latent value."""


def train_autoencoder(
    layout: Layout, dataset: str, out: Path, size: int, steps: int, batch_size: int, seed: int
) -> float:
    """Trains one, writes it as `out`, and returns its PSNR in dB on held-out pictures."""
    torch.manual_seed(seed)
    model = _model(size)
    recipe = Recipe("autoencoder", steps, 2e-3, 0.99, 0.01, rising=0.05)
    with pictures(layout, dataset, size, batch_size, seed) as stream:
        fit(model, stream, lambda pixels, _: _loss(model, pixels), recipe)
    model.eval()
    pixels, _ = held_out(layout, dataset, size, 128)
    with torch.no_grad():
        moments = model.encode(pixels).latent_dist
        model.register_to_config(scaling_factor=round(1 / moments.mean.std().item(), 5))
        error = (model.decode(moments.mean).sample.clamp(-1, 1) - pixels) / 2
    model.to(memory_format=torch.contiguous_format).half().save_pretrained(out)
    return float(-10 * error.square().mean((1, 2, 3)).log10().mean())


def _model(size: int) -> Any:
    from diffusers import AutoencoderKL

    # one group for all channels: of a flat colour, a group loses what its channels have in common
    model: Any = AutoencoderKL(
        block_out_channels=(24, 48), layers_per_block=1, norm_num_groups=1,
        latent_channels=LATENT_CHANNELS, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, sample_size=size, mid_block_add_attention=False,
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if ".conv2." in name:
            torch.nn.init.zeros_(parameter)  # residual blocks begin as nothing but their shortcut
    with torch.no_grad():  # and the posterior narrow: it would have to become so first
        model.quant_conv.weight[LATENT_CHANNELS:] = 0
        model.quant_conv.bias[LATENT_CHANNELS:] = -8
    return model.to(memory_format=torch.channels_last)


def _loss(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        posterior = model.encode(pixels).latent_dist
        found = model.decode(posterior.sample()).sample
    found, divergence = found.float(), posterior.kl().float().mean() / posterior.mean[0].numel()
    edges = sum(functional.l1_loss(found.diff(dim=dim), pixels.diff(dim=dim)) for dim in (2, 3))
    return functional.l1_loss(found, pixels) + edges + DIVERGENCE * divergence
