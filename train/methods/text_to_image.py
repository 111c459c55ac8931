"""A text-to-image model as a whole, from captions: what methods put their adapters beside."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.stream.batch import Batch
from train.methods.api import LossOut, StylizeRequest
from train.methods.base import Base
from train.methods.objective import Objective, diffusion_loss
from train.methods.schedule import denoise, diffusion_of
from train.parts.noise import normal, sample_generators, uniform


class TextToImage(Base):
    """Trains the whole denoising network of a pipeline; its autoencoder and text encoder stay.

    Args:
        network: of diffusers; its `config` says channels and side of the latents.
        schedule: configuration of the pipeline's scheduler.
        objective: of `diffusion_loss`.
        without_text: share of the samples that go without their caption, for guidance.
    """

    def __init__(
        self, network: Any, schedule: Mapping[str, Any], objective: Objective, without_text: float
    ):
        self.network = network
        self._schedule = schedule
        self._diffusion = diffusion_of(schedule)
        self._objective: Objective = objective
        self._without_text = without_text

    def text(self, captions: Sequence[str]) -> Any:
        """What the text encoder makes of them, for `predict`."""
        raise NotImplementedError

    def predict(self, x: torch.Tensor, t: torch.Tensor, text: Any) -> torch.Tensor:
        """The network's output, [N,C or 2C,h,w], of noisy latents [N,C,h,w] at timesteps [N]."""
        raise NotImplementedError

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents of pictures, float [N,3,S,S] in [-1,1]."""
        raise NotImplementedError

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures of latents."""
        raise NotImplementedError

    def module(self) -> torch.nn.Module:
        """The denoising network."""
        found: torch.nn.Module = self.network
        return found

    def param_groups(self) -> list[dict[str, Any]]:
        """Matrices with weight decay; vectors without."""
        named = list(self.network.parameters())
        return [
            {"name": "matrices", "params": [p for p in named if p.ndim > 1], "lr_scale": 1.0},
            {"name": "vectors", "params": [p for p in named if p.ndim < 2], "lr_scale": 1.0,
             "weight_decay": 0.0},
        ]  # fmt: skip

    def training_loss(self, batch: Batch) -> LossOut:
        """Of the pictures' latents, given their captions; some go without."""
        device = batch.weights.device
        generators = sample_generators(batch.sample_seed)
        dropped = uniform(generators, device) < self._without_text
        captions = ["" if drop else caption for caption, drop in
                    zip(batch.captions, dropped.tolist(), strict=True)]  # fmt: skip
        text = self.text(captions)
        return diffusion_loss(
            self._diffusion.to(device), lambda x, t: self.predict(x, t, text),
            self.encode(batch.images["target"].floats()), generators, self._objective,
        )  # fmt: skip

    @torch.no_grad()
    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures of the captions, from noise; content and style are not looked at."""
        how, device = request.how, next(self.network.parameters()).device
        text, nothing = (self.text(c) for c in (request.captions, [""] * len(request.seeds)))

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            found = self.predict(x, t, text)[:, : x.shape[1]]
            if how.guidance != 1:
                without = self.predict(x, t, nothing)[:, : x.shape[1]]
                found = without + how.guidance * (found - without)
            return found.float()

        side = self.network.config.sample_size
        shape = (self.network.config.in_channels, side, side)
        noise = normal(sample_generators(request.seeds), shape, device)
        return self.decode(denoise(predict, self._schedule, noise, how.steps))

    def request(self, batch: Batch, how: Any) -> StylizeRequest:
        """The captions."""
        none = torch.zeros(len(batch), dtype=torch.bool)
        return StylizeRequest(None, None, none, batch.captions, batch.sample_seed, how)
