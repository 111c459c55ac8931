"""The network: diffusers' PixArt transformer in a Haar latent, with content and style paths."""

from typing import Any

import torch
from torch import nn

from train.methods.style_adapter.config import NetConfig
from train.methods.style_adapter.words import HashedWords
from train.parts.adapter import attach
from train.parts.haar import haar, inverse_haar


class StyleEncoder(nn.Module):
    """Style latents [N,C,G,G] to tokens [N,T,dim]: local ones from strided convolutions, and four
    from the channels' means and deviations over the whole picture."""

    NUM_GLOBAL = 4

    def __init__(self, channels: int, dim: int):
        super().__init__()
        self.local = nn.Sequential(
            nn.Conv2d(channels, dim, 3, padding=1), nn.SiLU(),
            nn.Conv2d(dim, dim, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(dim, dim, 3, stride=2, padding=1),
        )  # fmt: skip
        self.statistics = nn.Sequential(
            nn.Linear(2 * channels, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, self.NUM_GLOBAL * dim)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Tokens [N, 4 + (G/4)², dim]."""
        flat = latents.flatten(2)
        # a plain deviation has no gradient at 0, which absent pictures have everywhere
        deviation = (flat.var(2, unbiased=False) + 1e-6).sqrt()
        whole = self.statistics(torch.cat([flat.mean(2), deviation], 1))
        whole = whole.unflatten(1, (self.NUM_GLOBAL, -1))
        local = self.local(latents).flatten(2).transpose(1, 2)
        return self.norm(torch.cat([whole, local], 1))


class Head(nn.Module):
    """Convolutions over patch borders: what a transformer puts out patch by patch shows as blocks,
    and neighbouring latents know better. Starts as nothing (zero-initialised)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(
            nn.Conv2d(3 * channels, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(),
            last,
        )  # fmt: skip

    def forward(
        self, predicted: torch.Tensor, noisy: torch.Tensor, content: torch.Tensor
    ) -> torch.Tensor:
        """The correction [N,C,G,G] of a prediction, given noisy and content latents."""
        return self.layers(torch.cat([predicted, noisy, content], 1))


class Net(nn.Module):
    """Predicts the clean target's latents from noisy ones, the content, a caption and a style."""

    def __init__(self, config: NetConfig):
        super().__init__()
        from diffusers import PixArtTransformer2DModel

        self.config = config
        channels = 3 * 4**config.haar_levels
        self.transformer: Any = PixArtTransformer2DModel(
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            in_channels=2 * channels,
            out_channels=channels,
            num_layers=config.num_layers,
            cross_attention_dim=config.num_heads * config.head_dim,
            sample_size=config.image_size // 2**config.haar_levels,
            patch_size=config.patch_size,
            caption_channels=config.text_dim,
            use_additional_conditions=False,
        )
        first = config.num_layers - config.style_layers
        self.adapter = attach(
            self.transformer, list(range(first, config.num_layers)), config.style_dim, config.gate
        )
        self.style = StyleEncoder(channels, config.style_dim)
        self.text = HashedWords(config.text_dim, config.word_buckets)
        self.head = Head(channels, config.head_width)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels [N,3,S,S] in [-1,1] to latents [N,C,G,G]."""
        return haar(pixels, self.config.haar_levels)

    def structure(self, pixels: torch.Tensor) -> torch.Tensor:
        """Latents of a content picture without its colours: each of its channels is brought to
        mean 0 and deviation 0.5, so that colours can only come from the style and the caption."""
        mean = pixels.mean((2, 3), keepdim=True)
        deviation = (pixels.var((2, 3), unbiased=False, keepdim=True) + 1e-4).sqrt()
        return self.encode((pixels - mean) / deviation * 0.5)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents to pixels; the inverse of `encode`."""
        return inverse_haar(latents, self.config.haar_levels)

    def forward(
        self,
        noisy: torch.Tensor,
        t: torch.Tensor,
        content: torch.Tensor,
        text: tuple[torch.Tensor, torch.Tensor],
        style_tokens: torch.Tensor,
        strength: torch.Tensor,
    ) -> torch.Tensor:
        """Predicted target latents.

        Args:
            noisy, content: latents [N,C,G,G].
            t: [N], 0 noise to 1 data.
            text: embeddings [N,L,text_dim] and mask [N,L].
            style_tokens: [N,T,style_dim].
            strength: [N], of the style; 0 switches it off.
        """
        embeddings, mask = text
        change = self.transformer(
            torch.cat([noisy, content], 1),
            encoder_hidden_states=embeddings,
            encoder_attention_mask=mask,
            timestep=t * 1000,
            cross_attention_kwargs={"ip_hidden_states": (style_tokens, strength, ())},
            return_dict=False,
        )[0]
        predicted = content + change
        return predicted + self.head(predicted, noisy, content)
