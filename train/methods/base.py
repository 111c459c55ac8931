"""What training methods have in common."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch
from train.methods.api import StylizeRequest


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random weights made inside are a function of the seed; the caller's generator stays
    untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class Base:
    """A method that makes pictures from contents and styles and trains its whole module, unless it
    says otherwise. Follows `train.methods.api.Method`."""

    sees_whole_batches = False

    def module(self) -> torch.nn.Module:
        """The whole network."""
        raise NotImplementedError

    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures, float [N,3,S,S] in [-1,1]."""
        raise NotImplementedError

    def calibrate(self, batches: Iterator[Batch]) -> None:
        """Nothing to look at."""

    def prepare(self, batch: Batch) -> Batch:
        """The batch as it is."""
        return batch

    def notes(self) -> list[str]:
        """Nothing to tell."""
        return []

    def request(self, batch: Batch, how: Any) -> StylizeRequest:
        """Contents in the styles that they are linked to, noise from the samples' seeds."""
        style = batch.images.get("style")
        none = torch.zeros(len(batch), dtype=torch.bool)
        return StylizeRequest(
            content=batch.images["content"].floats(),
            style=None if style is None else style.floats(),
            has_style=none if style is None else style.present,
            captions=batch.captions,
            seeds=batch.sample_seed,
            how=how,
        )

    def style_of(self, how: Any, own: str | None, task: str) -> str | None:
        """Its own."""
        return own

    def columns(self, batch: Batch, how: Any) -> dict[str, torch.Tensor]:
        """Content, style and target, as far as they are there, and what is made of them."""
        roles = [role for role in ("content", "style", "target") if role in batch.images]
        found = {role: batch.images[role].floats() for role in roles}
        return {**found, "output": self.stylize(self.request(batch, how))}

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """All weights and buffers."""
        return {name: value.detach() for name, value in self.module().state_dict().items()}

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Puts the weights back, strictly. Raises UserError when names or shapes differ."""
        own = self.trainable_state()
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())[0]
            raise UserError(f"the checkpoint is of another network: {odd} does not match")
        for name, tensor in state.items():
            if own[name].shape != tensor.shape:
                raise UserError(
                    f"the checkpoint is of another network: {name} is {tuple(tensor.shape)}, "
                    f"expected {tuple(own[name].shape)}"
                )
        self.module().load_state_dict(dict(state), strict=False)
