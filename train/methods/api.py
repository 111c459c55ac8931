"""What a training method is to the loop, to the commands and to the evaluator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from toolkit.stream.batch import Batch


@dataclass(frozen=True)
class Needs:
    """What a method wants from the loader. roles: of target, content, style; size: pixels a side;
    features: names of stored features (latents, tokens), none yet."""

    roles: tuple[str, ...]
    size: int
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class LossOut:
    """per_sample: float [N], unweighted, with gradients; logs: name to per-sample [N], detached."""

    per_sample: torch.Tensor
    logs: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class StylizeRequest:
    """Pictures to make.

    content, style: float [N,3,S,S] in [-1,1]; style None where the method takes none.
    has_style: bool [N]. captions: N texts. seeds: int64 [N], of the noise.
    steps: solver steps. guidance: classifier-free guidance weight, 1 for none.
    strength: of the style, 1 as trained, 0 without.
    """

    content: torch.Tensor
    style: torch.Tensor | None
    has_style: torch.Tensor
    captions: tuple[str, ...]
    seeds: torch.Tensor
    steps: int
    guidance: float = 1.0
    strength: float = 1.0


class Method(Protocol):
    """One training method.

    All noise and time in `training_loss` is drawn from `batch.sample_seed`, so the loss of a sample
    does not depend on the batch's layout, on ranks or on workers.
    """

    def needs(self) -> Needs:
        """What the loader has to deliver."""
        ...

    def module(self) -> torch.nn.Module:
        """The module that holds every weight, frozen ones included; moved to the device. Calling it
        is the network's forward pass, which is what --compile compiles."""
        ...

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: `params`, `name`, and `lr_scale` relative to the run's rate."""
        ...

    def training_loss(self, batch: Batch) -> LossOut:
        """The loss of each sample of a batch."""
        ...

    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures, float [N,3,S,S] in [-1,1]; equal seeds give equal pictures."""
        ...

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """The trained weights by name: what a checkpoint stores."""
        ...

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Puts `trainable_state` back. Raises UserError when names or shapes differ."""
        ...
