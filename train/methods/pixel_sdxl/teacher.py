"""The latent SDXL as a teacher of patch encoder and decoder: the features between its levels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from toolkit.encoders.api import open_encoder
from train.methods.pipelines import pretrained
from train.methods.pixel_sdxl.config import SIZE, Config
from train.methods.pixel_sdxl.net import SIZES, Body
from train.methods.pixel_sdxl.network import open_unet
from train.methods.prompt_words import Embedded
from train.methods.schedule import diffusion_of, load_schedule
from train.parts.noise import normal


class Teacher(nn.Module):
    """Of the backbone's pipeline, frozen.

    Args:
        config: of the run.
        device: where it is.
    """

    def __init__(self, config: Config, device: torch.device):
        super().__init__()
        unet, _ = open_unet(config.pipeline)
        level = SIZES[config.base_resolution].level
        self.conv_in, self.first = unet.conv_in, nn.ModuleList(unet.down_blocks[:level])
        self.body = Body(unet, level)
        self.requires_grad_(False).eval().to(device)
        self._is_matched = config.teacher_noise == "matched"
        self._diffusion = diffusion_of(
            load_schedule(config.pipeline, pretrained(config.pipeline, SIZE))
        )
        self._autoencoder: Any = open_encoder("autoencoder_kl", f"{config.pipeline}/vae",
                                              str(device))  # fmt: skip

    @torch.no_grad()
    def features(
        self, pictures: torch.Tensor, t: torch.Tensor, text: Embedded, sizes: torch.Tensor,
        generators: Sequence[torch.Generator], last: bool,
    ) -> torch.Tensor:  # fmt: skip
        """What goes into the body, [N,C,h,w], or what comes out of it.

        Args:
            pictures: float [N,3,H,W] in [-1,1].
            t: [N], 1 is noise: the timestep, and where the teacher's noise is matched its level.
            text, sizes: the conditions.
            generators: one a sample, of the posterior and of the noise.
            last: what comes out.
        """
        autoencoder = self._autoencoder
        height, width = (side // autoencoder.factor for side in pictures.shape[2:])
        shape = (autoencoder.channels, height, width)
        latents = autoencoder.latents_of(pictures, normal(generators, shape, pictures.device))
        step = 999 * t
        if self._is_matched:
            noise = normal(generators, shape, pictures.device)
            diffusion = self._diffusion.to(pictures.device)
            latents = diffusion.noised(latents, noise, step.round().long())
        assert text.pooled is not None
        body = self.body
        h = self.conv_in(latents)
        emb = body.embedded(step, text.pooled, sizes.to(h.device), h.dtype)
        for block in self.first:
            h, _ = _through(block, h, emb, text.tokens)
        return body(h, step, text.tokens, text.pooled, sizes.to(h.device)) if last else h


def _through(block: Any, h: torch.Tensor, emb: torch.Tensor, tokens: torch.Tensor) -> Any:
    if getattr(block, "has_cross_attention", False):
        return block(h, emb, encoder_hidden_states=tokens)
    return block(h, emb)
