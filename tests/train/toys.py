"""A method of a few weights, for tests of the machinery around methods."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from toolkit.stream.batch import Batch
from train.methods.api import LossOut
from train.methods.base import Base
from train.parts.noise import normal, sample_generators

WIDTH = 6


class Toy(Base):
    """Learns to predict each sample's own noise, from it. `body` may be frozen."""

    def __init__(self, seed: int = 0, net: nn.Module | None = None):
        torch.manual_seed(seed)
        self.net = net or nn.Sequential(
            nn.Sequential(nn.Linear(WIDTH, 16), nn.LayerNorm(16)), nn.GELU(), nn.Linear(16, WIDTH)
        )

    def module(self) -> nn.Module:
        return self.net

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"name": "all", "params": list(self.net.parameters())}]

    def training_loss(self, batch: Batch) -> LossOut:
        noise = normal(sample_generators(batch.sample_seed), (WIDTH,), batch.weights.device)
        error = (self.net(noise) - noise.cos()).float().square().mean(1)
        return LossOut(error, {"size": noise.square().mean(1)})

    def stylize(self, request: Any) -> torch.Tensor:
        return request.content

    def trainable_state(self) -> dict[str, torch.Tensor]:
        return {name: p.detach() for name, p in self.net.named_parameters() if p.requires_grad}

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        self.net.load_state_dict(dict(state), strict=False)


def batch_at(position: int, count: int = 8) -> Batch:
    """A batch without pictures: `count` samples of two tasks, weights not all the same."""
    numbers = torch.arange(position, position + count)
    return Batch(
        tasks=("main", "fill50k"), task=numbers % 2, images={},
        keys=tuple(f"k{n}" for n in numbers.tolist()), captions=("",) * count,
        style_names=(None,) * count, weights=1 + (numbers % 3).float(), sample_seed=numbers * 7,
        cursor={"position": position + count},
    )  # fmt: skip
