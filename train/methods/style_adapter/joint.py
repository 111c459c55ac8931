"""`style_adapter` without a backbone: a small network learns a teacher's targets as a whole."""

from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch
from train.methods.api import LossOut, StylizeRequest
from train.methods.base import Base, seeded
from train.methods.style_adapter.config import Config, Stylize
from train.methods.style_adapter.joint_net import Net
from train.parts.flow import interpolate, velocity_from_data, velocity_loss
from train.parts.noise import normal, sample_generators, uniform
from train.parts.samplers import solve, times_between


class Joint(Base):
    """Trains backbone, adapter, gates and encoders together: there is no pretrained backbone of
    this size to freeze."""

    def __init__(self, config: Config, seed: int):
        self.config = config
        with seeded(seed):
            self.net = Net(config.net)

    def module(self) -> torch.nn.Module:
        """The whole network."""
        return self.net

    def param_groups(self) -> list[dict[str, Any]]:
        """Matrices with weight decay; vectors and gates without. Gates start small and their
        gradients are single numbers, so they need larger steps to open at all."""
        groups: dict[str, list[torch.nn.Parameter]] = {"matrices": [], "vectors": [], "gates": []}
        for name, parameter in self.net.named_parameters():
            if name.endswith(".gate"):
                groups["gates"].append(parameter)
            else:
                groups["matrices" if parameter.ndim > 1 else "vectors"].append(parameter)
        return [
            {"name": "matrices", "params": groups["matrices"], "lr_scale": 1.0},
            {"name": "vectors", "params": groups["vectors"], "lr_scale": 1.0, "weight_decay": 0.0},
            {"name": "gates", "params": groups["gates"], "lr_scale": 50.0, "weight_decay": 0.0},
        ]

    def training_loss(self, batch: Batch) -> LossOut:
        """Velocity error of the predicted targets at a random time."""
        device = batch.weights.device
        generators = sample_generators(batch.sample_seed)
        target = self.net.encode(batch.images["target"].floats())
        content = self.net.structure(batch.images["content"].floats())
        style = batch.images["style"]
        t = uniform(generators, device)
        noise = normal(generators, target.shape[1:], device)
        kept = uniform(generators, device) >= self.config.style_dropout
        predicted = self.net(
            interpolate(target, noise, t),
            t,
            content,
            self.net.text(batch.captions),
            self.net.style(self.net.encode(style.floats())),
            (style.present & kept).float(),
        )
        loss = velocity_loss(predicted, target, t, self.config.time_floor)
        error = (predicted.detach() - target).square().flatten(1).mean(1)
        return LossOut(loss, {"mse": error})

    @torch.no_grad()
    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Solves the flow from noise to a picture, given content and style."""
        how: Stylize = request.how
        if request.content is None:
            raise UserError("style_adapter works on pictures: give --content one")
        content = self.net.structure(request.content)
        style = request.style if request.style is not None else torch.zeros_like(request.content)
        tokens = self.net.style(self.net.encode(style))
        if how.strength != 1:
            raise UserError(
                "--strength: a network without a backbone begins at noise, leave it away"
            )
        strength = request.has_style.to(content).clone() * how.style_scale
        text = self.net.text(request.captions)

        def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            styled = self.net(x, t, content, text, tokens, strength)
            if how.guidance != 1:
                plain = self.net(x, t, content, text, tokens, torch.zeros_like(strength))
                styled = plain + how.guidance * (styled - plain)
            return velocity_from_data(styled, x, t)

        noise = normal(sample_generators(request.seeds), content.shape[1:], content.device)
        return self.net.decode(solve(velocity, noise, times_between(0, 1, how.steps))).clamp(-1, 1)

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """All weights; the adapter's are stored once, under the transformer."""
        state = self.net.state_dict()
        return {k: v.detach() for k, v in state.items() if not k.startswith("adapter.")}
