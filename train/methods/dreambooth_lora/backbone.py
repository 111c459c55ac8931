"""`dreambooth_lora` with trains=backbone: a Stable Diffusion from captions, without a style."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.encoders.api import open_encoder
from train.methods.dreambooth_lora.config import SIZE, Config
from train.methods.dreambooth_lora.network import load_unet
from train.methods.pipelines import pretrained
from train.methods.prompt_words import Embedded, Words
from train.methods.schedule import load_schedule
from train.methods.text_to_image import TextToImage

WITHOUT_TEXT = 0.1
"""Share of the samples that go without their caption: Stable Diffusion's (Rombach et al. 2022)."""


class Backbone(TextToImage):
    """Trains the whole UNet. Raises UserError for SDXL, which wants more than a caption."""

    def __init__(self, config: Config, seed: int):
        place = config.pipeline
        unet = load_unet(place)
        if unet.config.addition_embed_type:
            raise UserError(f"--backbone={config.backbone}: trains=backbone takes no SDXL")
        super().__init__(
            unet, load_schedule(place, pretrained(place, SIZE)), "eps_mse", WITHOUT_TEXT
        )
        self.config = config
        self._words = Words(place, trained=False)

    def asked(self) -> Mapping[str, str]:
        """Autoencoder and text encoder."""
        words = self._words.asked(next(self.network.parameters()).device)
        return {"autoencoder": str(self._autoencoder.identity["weights"]), **words}

    @cached_property
    def _autoencoder(self) -> Any:
        device = next(self.network.parameters()).device
        return open_encoder("autoencoder_kl", f"{self.config.pipeline}/vae", str(device))

    def text(self, captions: Sequence[str]) -> Embedded:
        """Tokens."""
        found: Embedded = self._words(captions, next(self.network.parameters()).device)
        return found

    def predict(self, x: torch.Tensor, t: torch.Tensor, text: Embedded) -> torch.Tensor:
        """What the UNet predicts."""
        found: torch.Tensor = self.network(
            x, t, encoder_hidden_states=text.tokens, return_dict=False
        )[0]
        return found

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents, the posterior's means."""
        found: torch.Tensor = self._autoencoder.latents_of(pictures)
        return found

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures."""
        found: torch.Tensor = self._autoencoder.decode(latents).clamp(-1, 1)
        return found.to(latents.device)
