"""`style_adapter` with trains=backbone: text to pictures, which adapters are then put beside."""

from typing import Any

import torch

from toolkit.stream.batch import Batch
from train.methods.api import LossOut, StylizeRequest
from train.methods.base import Base
from train.methods.objective import diffusion_loss
from train.methods.schedule import denoise, diffusion_of
from train.methods.style_adapter.config import Config, Stylize
from train.methods.style_adapter.encoders import Encoders
from train.methods.style_adapter.student import load_backbone, load_schedule
from train.parts.noise import normal, sample_generators, uniform


class Backbone(Base):
    """Trains the whole transformer of a pipeline; its autoencoder and text encoder stay."""

    def __init__(self, config: Config, seed: int):
        self.config = config
        self.transformer = load_backbone(config.backbone)
        self._schedule = load_schedule(config.backbone)
        self._diffusion = diffusion_of(self._schedule)
        self._encoders: Encoders | None = None

    def module(self) -> torch.nn.Module:
        """The transformer."""
        found: torch.nn.Module = self.transformer
        return found

    def param_groups(self) -> list[dict[str, Any]]:
        """Matrices with weight decay; vectors without."""
        named = list(self.transformer.parameters())
        return [
            {"name": "matrices", "params": [p for p in named if p.ndim > 1], "lr_scale": 1.0},
            {"name": "vectors", "params": [p for p in named if p.ndim < 2], "lr_scale": 1.0,
             "weight_decay": 0.0},
        ]  # fmt: skip

    def training_loss(self, batch: Batch) -> LossOut:
        """Of the targets' latents, given their captions; some go without."""
        device, encoders = batch.weights.device, self._frozen()
        generators = sample_generators(batch.sample_seed)
        shares = self.config.dropout
        dropped = uniform(generators, device) < shares.text + shares.both
        captions = ["" if drop else caption for caption, drop in
                    zip(batch.captions, dropped.tolist(), strict=True)]  # fmt: skip
        tokens, mask = encoders.text(captions)
        latents = encoders.latents(batch.images["target"].floats())
        return diffusion_loss(
            self._diffusion.to(device), lambda x, t: self._predict(x, t, tokens, mask), latents,
            generators, self.config.objective,
        )  # fmt: skip

    @torch.no_grad()
    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures of the captions, from noise; content and style are not looked at."""
        how: Stylize = request.how
        encoders, device = self._frozen(), next(self.transformer.parameters()).device
        text, nothing = (encoders.text(c) for c in (request.captions, [""] * len(request.seeds)))

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            found = self._predict(x, t, *text)[:, : x.shape[1]]
            if how.guidance != 1:
                without = self._predict(x, t, *nothing)[:, : x.shape[1]]
                found = without + how.guidance * (found - without)
            return found.float()

        side = self.transformer.config.sample_size
        shape = (self.transformer.config.in_channels, side, side)
        noise = normal(sample_generators(request.seeds), shape, device)
        return encoders.pictures(denoise(predict, self._schedule, noise, how.steps))

    def request(self, batch: Batch, how: Any) -> StylizeRequest:
        """The captions."""
        none = torch.zeros(len(batch), dtype=torch.bool)
        return StylizeRequest(None, None, none, batch.captions, batch.sample_seed, how)

    def _predict(
        self, x: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        found: torch.Tensor = self.transformer(
            x, encoder_hidden_states=tokens, encoder_attention_mask=mask, timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None}, return_dict=False,
        )[0]  # fmt: skip
        return found

    def _frozen(self) -> Encoders:
        if self._encoders is None:
            device = next(self.transformer.parameters()).device
            self._encoders = Encoders(self.config, str(device))
        return self._encoders
