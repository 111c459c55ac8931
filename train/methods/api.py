"""What a training method is to the loop, to the commands and to the evaluator."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from toolkit.stream.batch import Batch


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
    how: the method's `Stylize`, see `train.methods.needs`.
    labels: the style that each content is of, None where unknown.
    latents: what the contents are encoded as, in their place. styles: by name, the style that each
    picture is to be of, None for none, where a method makes pictures from texts.
    """

    content: torch.Tensor | None
    style: torch.Tensor | None
    has_style: torch.Tensor
    captions: tuple[str, ...]
    seeds: torch.Tensor
    how: Any
    labels: tuple[str | None, ...] = ()
    latents: torch.Tensor | None = None
    styles: tuple[str | None, ...] = ()


class Method(Protocol):
    """One training method; `train.methods.base.Base` has what most share.

    All noise and time in `training_loss` is drawn from `batch.sample_seed`, so the loss of a sample
    does not depend on the batch's layout, on ranks or on workers.

    sees_whole_batches: whether `prepare` needs those of all ranks together, which each then reads.
    """

    sees_whole_batches: bool

    def module(self) -> torch.nn.Module:
        """The module that holds every weight, frozen ones included; moved to the device. Calling it
        is the network's forward pass, which is what --compile compiles."""
        ...

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: `params`, `name`, and `lr_scale` relative to the run's rate."""
        ...

    def calibrate(self, batches: Iterator[Batch]) -> None:
        """Looks at the first samples of a new run's stream before its first step, at as many as it
        needs."""
        ...

    def prepare(self, batch: Batch) -> Batch:
        """What has to see a whole batch, before it is worked through in parts; on the CPU."""
        ...

    def training_loss(self, batch: Batch) -> LossOut:
        """The loss of each sample of a batch. It uses each trained weight, whatever the samples:
        ranks exchange gradients weight by weight."""
        ...

    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures, float [N,3,S,S] in [-1,1]; equal seeds give equal pictures."""
        ...

    def notes(self) -> list[str]:
        """What there is to tell of the pictures made so far, a line each."""
        ...

    def request(self, batch: Batch, how: Any) -> StylizeRequest:
        """What to make from a batch with the roles of `Needs.inputs`."""
        ...

    def style_of(self, how: Any, own: str | None, task: str) -> str | None:
        """The style that is named with a picture made of a sample of a task, whose own style, or
        whose style picture's, is `own`."""
        ...

    def columns(self, batch: Batch, how: Any) -> dict[str, torch.Tensor]:
        """Named columns of pictures, float [N,3,S,S] in [-1,1], a row for each sample: what the run
        can do by now. The batch has what trains it and what `Needs.inputs` asks for."""
        ...

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """The trained weights by name: what a checkpoint stores."""
        ...

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Puts `trainable_state` back. Raises UserError when names or shapes differ."""
        ...


@runtime_checkable
class Surveys(Protocol):
    """What a method has besides that wants to see each sample of the main task once."""

    def survey(self, samples: Iterator[Batch]) -> None:
        """Looks at all of them, each uncut in the middle, before a new run's first step."""
        ...


@runtime_checkable
class Asks(Protocol):
    """What a method has besides whose loss asks models that are not in its module."""

    def asked(self) -> Mapping[str, str]:
        """Hash of the weights of each, by name: a run that resumes compares them."""
        ...


@runtime_checkable
class Loads(Protocol):
    """What a method has besides that takes other models' weights apart."""

    def loaded(self) -> list[str]:
        """What was taken, left out and made anew, a line each; told when a run begins."""
        ...


@runtime_checkable
class Imports(Protocol):
    """What a method has besides that begins with weights of other programs."""

    def imported(self, path: Path) -> None:
        """Takes the weights of a file. Raises UserError where they do not fit."""
        ...


@runtime_checkable
class Exports(Protocol):
    """What a method has besides whose weights other programs take."""

    def export(self, out: Path, about: Mapping[str, Any]) -> Sequence[str]:
        """Writes a folder, and returns the names of its files. about: run, step and hash of the
        weights, for the card."""
        ...


@runtime_checkable
class Translates(Protocol):
    """What a method has besides that translates pictures between labels by way of latents.

    translator: with `invert`, `generate` and `round_trip`, as `train.methods.ot_cfm.translate` has
    them.
    """

    translator: Any

    def number(self, style: str) -> int:
        """The number of a label by name. Raises UserError."""
        ...

    def latents(self, batch: Batch) -> torch.Tensor:
        """Standardised latents of a batch, float32 [N,C,h,w]."""
        ...

    def standardised(
        self, stored: torch.Tensor, task: str, styles: Sequence[str | None]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of stored latents of a task, and int64 [N], their labels' numbers."""
        ...

    def encoded(self, pictures: torch.Tensor) -> torch.Tensor:
        """Those of pictures, float [N,3,S,S] in [-1,1], rounded to 8 bits."""
        ...

    def decoded(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures, float [N,3,S,S] in [-1,1], of standardised latents."""
        ...
