"""Pictures that a run makes, as a source for the packer: generated pictures are a dataset."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from toolkit.core.keyed import key63
from toolkit.core.records import Link, Record, Ref
from toolkit.store.images import encode_png
from toolkit.store.selection import Selection
from toolkit.stream.assemble import Assembler
from toolkit.stream.schedule import Want
from train.methods.api import Method, StylizeRequest
from train.methods.needs import Needs
from train.numerics import autocast
from train.watch import to_uint8

BATCH_SIZE = 16
"""Pictures at a time."""


@dataclass(frozen=True)
class StylizeSettings:
    """How pictures are made. how: the method's own `Stylize`; needs: of the method; seed: of the
    noise; batch_size: pictures at a time, without influence on any of them; precision: fp32, bf16
    or fp16."""

    how: Any
    needs: Needs
    seed: int = 0
    batch_size: int = BATCH_SIZE
    precision: str = "fp32"

    def made(self, method: Method, request: StylizeRequest) -> list[np.ndarray]:
        """The pictures of a request, uint8 [H,W,3]."""
        device = next(method.module().parameters()).device
        with autocast(device.type, self.precision):
            found = method.stylize(request).float().cpu()
        return [to_uint8(pixels) for pixels in found]


@dataclass
class Made:
    """A source of pictures that a method makes when they are asked for.

    They are made a batch ahead and handed out one by one, so memory holds one batch.
    identity: of the weights. spent_s: seconds per picture.
    """

    method: Method
    settings: StylizeSettings
    identity: dict[str, Any]
    spent_s: list[float] = field(default_factory=list, init=False)
    _ready: dict[str, np.ndarray] = field(default_factory=dict, init=False)

    def names(self) -> Sequence[str]:
        """What each picture is called, in order; all differ."""
        raise NotImplementedError

    def key(self, name: str) -> str:
        """The key that a picture is to have, where it is not made of its name."""
        return ""

    def request(self, start: int, stop: int, device: torch.device) -> StylizeRequest:
        """What to make at once."""
        raise NotImplementedError

    def draw(self, first: int, request: StylizeRequest) -> list[np.ndarray]:
        """The pictures of a request, uint8 [H,W,3]. first: number of the first of them."""
        return self.settings.made(self.method, request)

    def notes(self) -> list[str]:
        """What there is to tell of the pictures made so far, a line each."""
        return []

    def record(self, number: int, members: dict[str, bytes]) -> Record:
        """A picture with what is known of it."""
        raise NotImplementedError

    def data(self) -> dict[str, Any]:
        """What the pictures are made from: those from something else are made again."""
        raise NotImplementedError

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """One picture per name."""
        for number, name in enumerate(self.names()):
            yield Ref(name, number, key=self.key(name))

    def read(self, ref: Ref) -> Record:
        """Makes the picture, and its neighbours with it."""
        if ref.source_id not in self._ready:
            self._make(ref.locator)
        return self.record(ref.locator, {"png": encode_png(self._ready.pop(ref.source_id))})

    def describe(self) -> dict[str, Any]:
        """Weights and settings: pictures of other ones are made again."""
        settings = self.settings
        how = {**asdict(settings.how), "seed": settings.seed, "precision": settings.precision}
        return {"kind": "stylize", **self.identity, **how, **self.data()}

    def _make(self, first: int) -> None:
        names = self.names()
        stop = min(first + self.settings.batch_size, len(names))
        device = next(self.method.module().parameters()).device
        request = self.request(first, stop, device)
        start = time.monotonic()
        made = self.draw(first, request)
        self.spent_s += [(time.monotonic() - start) / (stop - first)] * (stop - first)
        self._ready = dict(zip(names[first:stop], made, strict=True))


@dataclass
class StylizedSource(Made):
    """Stylises each selected sample: its content in the style it is linked to, or its own picture.

    dataset: that of the selected samples, whose keys the pictures get.
    """

    selection: Selection
    dataset: str

    def names(self) -> Sequence[str]:
        """The samples' keys."""
        return self._keys

    def request(self, start: int, stop: int, device: torch.device) -> StylizeRequest:
        """From the samples' pictures."""
        needs = self.settings.needs
        assembler = Assembler([self.selection], needs.size, needs.inputs)
        seeds = [key63("stylize", self.settings.seed, key) << 1 for key in self._keys[start:stop]]
        wants = [Want(0, start + i, seed) for i, seed in enumerate(seeds)]
        try:
            batch = assembler.assemble(wants)
        finally:
            assembler.close()
        return self.method.request(batch.to(device), self.settings.how)

    def record(self, number: int, members: dict[str, bytes]) -> Record:
        """Linked to what it was made from."""
        row = self._row(number)
        links = [
            Link(role, path.split("/")[-2], row[f"{role}_key"]) for role, path in self._linked(row)
        ]
        own = "content" if "target" in self.settings.needs.inputs else "target"
        return Record(
            members=members,
            captions=(row["caption"],) if row["caption"] else (),
            style=self.method.style_of(self.settings.how, row["style"], self.selection.name),
            split=row["split"],
            links=(*links, Link(own, self.dataset, row["key"])),
            protocol="stylize-1",
            extra={**asdict(self.settings.how), "seed": self.settings.seed},
        )

    def data(self) -> dict[str, Any]:
        """The selection."""
        return {"data": self.selection.fingerprint}

    @cached_property
    def _keys(self) -> list[str]:
        found: list[str] = self.selection.table.column("key").to_pylist()
        return found

    def _row(self, number: int) -> dict[str, Any]:
        row: dict[str, Any] = self.selection.table.slice(number, 1).to_pylist()[0]
        return row

    def _linked(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        shards = self.selection.shards
        return [
            (role, str(shards[row[f"{role}_shard"]]))
            for role in ("content", "style")
            if role in self.settings.needs.inputs and row[f"{role}_shard"] >= 0
        ]
