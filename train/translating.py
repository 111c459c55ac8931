"""A finished run that translates between labels, opened for measuring."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.keyed import key63
from toolkit.store.layout import Layout
from toolkit.store.selection import Selection
from toolkit.stream.assemble import Assembler
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch
from toolkit.stream.schedule import Want
from train.data import open_data
from train.methods import config_module
from train.methods.api import Translates
from train.parts.samplers import evaluations
from train.runs import RunFolder, needs_of
from train.trained import Trained

_TOGETHER = 16  # samples that are worked on at a time


class Translating:
    """Raises UserError: a run whose method does not translate; data that are gone."""

    def __init__(self, trained: Trained, layout: Layout):
        self._trained, self.settings = trained, trained.settings
        if not isinstance(trained.method, Translates):
            raise UserError(
                f"{self.settings.method} does not translate between labels: python -m eval.run "
                "scores its pictures"
            )
        self._method = trained.method
        self._device = next(trained.method.module().parameters()).device
        self._data = open_data(self.settings.data, needs_of(self.settings), layout)

    @property
    def _held_out(self) -> list[Selection]:
        """What was not trained on, for a task without a validation split is watched on itself."""
        used = {selection.fingerprint for selection in self._data.selections}
        return [s for s in self._data.validation if s.fingerprint not in used]

    @property
    def folder(self) -> RunFolder:
        """Of the run."""
        return self._trained.folder

    @property
    def identity(self) -> dict[str, Any]:
        """The run, and which of its weights."""
        return self._trained.identity

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the labels."""
        found: tuple[str, ...] = self.settings.method_config.styles
        return found

    def held_out(self, style: str, count: int, purpose: str) -> tuple[torch.Tensor, list[str]]:
        """Cuts of a label's held-out pictures, float [N,3,S,S] in [-1,1], and the keys of the
        pictures. Drawn and cut by key as the training's are, each picture as often as the others,
        give or take one; only once where the training cuts none.

        Raises UserError: there are none.
        """
        batches = self._draw(self._held_out, style, count, purpose, with_pictures=True)
        pixels = [batch.images["target"].floats() for batch in batches]
        return torch.cat(pixels), [key for batch in batches for key in batch.keys]

    def trained_on(self, style: str, count: int, purpose: str) -> torch.Tensor:
        """Standardised latents that the run was trained on, [N,C,h,w], drawn likewise."""
        batches = self._draw(self._data.selections, style, count, purpose, with_pictures=False)
        return torch.cat([self._method.latents(batch).cpu() for batch in batches])

    def _draw(
        self,
        selections: Sequence[Selection],
        style: str,
        count: int,
        purpose: str,
        with_pictures: bool,
    ) -> list[Batch]:
        how = self.settings.data
        places = [(n, row) for n, s in enumerate(selections) for row in self._rows(s, style)]
        if not places:
            split = how.val_split if with_pictures else how.split
            raise UserError(
                f"no sample of the split {split} is of the style {style}: pack some with that split"
            )
        places.sort(key=lambda place: key63(purpose, *place))
        if how.crop == "center":
            count = min(count, len(places))
        wants = [
            Want(*places[n % len(places)], key63(purpose, "cut", n) << 1) for n in range(count)
        ]
        size = needs_of(self.settings).size
        cut = Augment(how.crop, how.least_scale)
        if with_pictures:
            assembler = Assembler(selections, size, ("target",), cut)
        else:
            assembler = Assembler(selections, size, (), cut, features=self._data.features)
        try:
            return [assembler.assemble(some) for some in _in_batches(wants)]
        finally:
            assembler.close()

    def is_validated(self, style: str) -> bool:
        """Whether there are held-out pictures of the label."""
        return any(self._rows(selection, style) for selection in self._held_out)

    @torch.no_grad()
    def encoded(self, pixels: torch.Tensor) -> torch.Tensor:
        """Standardised latents of pictures in 8 bits."""
        return torch.cat([self._method.encoded(some).cpu() for some in self._parts(pixels)])

    @torch.no_grad()
    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures of standardised latents."""
        return torch.cat([self._method.decoded(some).cpu() for some in self._parts(latents)])

    @torch.no_grad()
    def inverted(self, latents: torch.Tensor, source: str, how: Any) -> Iterator[torch.Tensor]:
        """The noise of some samples after the other."""
        for some in self._parts(latents):
            yield self._method.translator.invert(some, self._labels(source, some), how).cpu()

    @torch.no_grad()
    def generated(self, noise: torch.Tensor, target: str, how: Any) -> Iterator[torch.Tensor]:
        """Latents of some samples after the other."""
        for some in self._parts(noise):
            yield self._method.translator.generate(some, self._labels(target, some), how).cpu()

    @torch.no_grad()
    def round_trip(self, latents: torch.Tensor, source: str, how: Any) -> float:
        """Mean relative error of going back to the noise and forth again under one label."""
        latents = latents.to(self._device)
        labels = self._labels(source, latents)
        return float(self._method.translator.round_trip(latents, labels, how).mean())

    def evaluations(self, how: Any) -> int:
        """Of the network, each way."""
        return evaluations(how.solver, how.steps)

    def solver_settings(self, how: Any, budgets: Sequence[int]) -> list[tuple[str, int, Any]]:
        """(solver, evaluations each way, settings) of each solver within each budget."""
        found = self._method.translator.settings_within(how, budgets)
        return [(one.solver, evaluations(one.solver, one.steps), one) for one in found]

    def _parts(self, values: torch.Tensor) -> Iterator[torch.Tensor]:
        """Some samples after the other, where the network is."""
        return (some.to(self._device) for some in values.split(_TOGETHER))

    def _labels(self, style: str, like: torch.Tensor) -> torch.Tensor:
        return torch.full((len(like),), self._method.number(style), device=like.device)

    def _rows(self, selection: Selection, style: str) -> list[int]:
        label_of = config_module(self.settings.method).label_of
        config = self.settings.method_config
        styles = selection.table.column("style").to_pylist()
        return [
            row for row, own in enumerate(styles) if label_of(config, own, selection.name) == style
        ]


def _in_batches(wants: list[Want]) -> Iterator[list[Want]]:
    for start in range(0, len(wants), 64):
        yield wants[start : start + 64]
