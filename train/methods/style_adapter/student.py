"""The student: a frozen PixArt-alpha, and beside it what learns a teacher's style transfer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from toolkit.core.errors import UserError
from toolkit.encoders.loading import Pretrained, load_model
from train.methods.schedule import diffusion_of, load_schedule
from train.methods.style_adapter.config import BACKBONE_SIZE, Config, place_of
from train.methods.style_adapter.control import Control
from train.parts.adapter import attach, attach_conditions
from train.parts.purification import Purification
from train.parts.style_tokens import EmbeddingTokens, PatchTokens

PIXART = Pretrained("PixArt-alpha/PixArt-XL-2-512x512", BACKBONE_SIZE)
_FROZEN = "transformer."
_ADDED = (".to_k_style.", ".to_v_style.", ".processor.gate")


@dataclass(frozen=True)
class Conditions:
    """What the student is given besides the noisy latents. text: tokens [N,L,D] and mask [N,L].
    style: CLIP's embedding [N,D], or patches [N,P,D]; strength: [N] of the style. proxy: what
    stands for the content in the purification, [N,D], and where there is one, bool [N]; content:
    its latents [N,C,h,w]."""

    text: tuple[torch.Tensor, torch.Tensor]
    style: torch.Tensor
    strength: torch.Tensor
    proxy: tuple[torch.Tensor, torch.Tensor] | None = None
    content: torch.Tensor | None = None


class Student(nn.Module):
    """Predicts as the backbone does, with a style and a content.

    What is trained: the style's tokens and their purification, keys, values and gates of the last
    layers, and the branch that reads the content, where there is one.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.transformer = load_backbone(config.backbone).requires_grad_(False)
        blocks, width = len(self.transformer.transformer_blocks), self.transformer.inner_dim
        how = config.adapter
        asked = {"adapter.layers": how.layers}
        if config.content_path == "control":
            asked["control_layers"] = config.control_layers
        for name, count in asked.items():
            if count > blocks:
                raise UserError(f"--{name}={count}: the backbone has {blocks} blocks")
        self.control: Control | None = None
        if config.content_path == "control":
            self.control = Control(self.transformer, config.control_layers)
            attach_conditions(self.transformer, config.control_layers)
        layers = list(range(blocks - (how.layers or blocks), blocks))
        self._added = (attach(self.transformer, layers, width, how.gate),)  # known to the blocks
        if how.source == "embedding":
            self.tokens: nn.Module = EmbeddingTokens(config.embedding_dim, how.tokens, width)
        else:
            self.tokens = PatchTokens(config.embedding_dim, how.tokens, width)
        self.purification = Purification(how.purification, width)
        self.proxy: nn.Linear | None = None
        if how.source == "patches" and how.purification != "none":
            self.proxy = nn.Linear(config.proxy_dim, width)
        self.schedule = load_schedule(place_of(config.backbone), PIXART)
        self.diffusion = diffusion_of(self.schedule)
        self.no_text: torch.Tensor
        self.style_means: torch.Tensor
        none = torch.zeros(1, self.transformer.config.caption_channels)
        self.register_buffer("no_text", none)  # what the text encoder makes of nothing
        means = torch.zeros(len(config.styles), config.embedding_dim)
        self.register_buffer("style_means", means)

    @property
    def channels(self) -> int:
        """Of the latents."""
        found: int = self.transformer.config.in_channels
        return found

    def style_tokens(self, conditions: Conditions) -> torch.Tensor:
        """Purified tokens of the style, [N,T,W]."""
        tokens: torch.Tensor = self.tokens(conditions.style)
        if conditions.proxy is None:
            return tokens
        proxy, present = conditions.proxy
        # the content in the same space: as tokens of its own embedding, where those are of one
        content = self.tokens(proxy) if self.proxy is None else self.proxy(proxy)[:, None]
        found: torch.Tensor = self.purification(tokens, content, present)
        return found

    def forward(self, noisy: torch.Tensor, t: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """The backbone's output [N,C or 2C,h,w]. noisy: latents; t: the scheduler's timesteps."""
        text, mask = conditions.text
        residuals: tuple[torch.Tensor, ...] = ()
        if self.control is not None and conditions.content is not None:
            residuals = self.control(self.transformer, noisy, t, conditions.content, text, mask)
        added = (self.style_tokens(conditions), conditions.strength, residuals)
        found: torch.Tensor = self.transformer(
            noisy,
            encoder_hidden_states=text,
            encoder_attention_mask=mask,
            timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            cross_attention_kwargs={"ip_hidden_states": added},
            return_dict=False,
        )[0]
        return found

    def trained(self) -> dict[str, torch.Tensor]:
        """All weights that are trained, by name."""
        return {
            name: value.detach()
            for name, value in self.state_dict().items()
            if not name.startswith(_FROZEN) or any(part in name for part in _ADDED)
        }


def load_backbone(weights: str) -> Any:
    """diffusers' `PixArtTransformer2DModel`, by hub id or folder of a whole pipeline. Raises
    UserError."""
    from diffusers import PixArtTransformer2DModel

    build = PixArtTransformer2DModel.from_pretrained
    return load_model(build, f"{place_of(weights)}/transformer", PIXART, flag="--backbone")
