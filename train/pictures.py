"""Pictures that a run makes, as a source for the packer: generated pictures are a dataset."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from toolkit.core.records import Link, Record, Ref
from toolkit.store.images import encode_png
from toolkit.store.selection import Selection
from toolkit.stream.assemble import Assembler
from toolkit.stream.schedule import Want
from train.methods.api import Method
from train.methods.needs import Needs
from train.watch import to_uint8


@dataclass(frozen=True)
class StylizeSettings:
    """How pictures are made. how: the method's own `Stylize`; needs: of the method; seed: of the
    noise; batch_size: pictures at a time, without influence on any of them."""

    how: Any
    needs: Needs
    seed: int = 0
    batch_size: int = 16


@dataclass
class StylizedSource:
    """Stylises each selected sample: its content in the style it is linked to, or its own picture.

    Pictures are made a batch ahead and handed out one by one, so memory holds one batch.
    dataset: that of the selected samples. identity: of the weights. spent_s: seconds per picture.
    """

    method: Method
    selection: Selection
    dataset: str
    settings: StylizeSettings
    identity: dict[str, Any]
    spent_s: list[float] = field(default_factory=list)
    _ready: dict[str, tuple[np.ndarray, dict[str, Any]]] = field(default_factory=dict)

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """One picture per selected sample, under the sample's key."""
        for row, key in enumerate(self.selection.table.column("key").to_pylist()):
            yield Ref(key, row)

    def read(self, ref: Ref) -> Record:
        """Makes the picture, and its neighbours with it."""
        if ref.source_id not in self._ready:
            self._make(ref.locator)
        pixels, row = self._ready.pop(ref.source_id)
        links = [
            Link(role, path.split("/")[-2], row[f"{role}_key"]) for role, path in self._linked(row)
        ]
        own = "content" if "target" in self.settings.needs.inputs else "target"
        return Record(
            members={"png": encode_png(pixels)},
            captions=(row["caption"],) if row["caption"] else (),
            style=self.method.style_of(self.settings.how, row["style"], self.selection.name),
            split=row["split"],
            links=(*links, Link(own, self.dataset, row["key"])),
            protocol="stylize-1",
            extra={**asdict(self.settings.how), "seed": self.settings.seed},
        )

    def describe(self) -> dict[str, Any]:
        """Weights and settings: pictures of other ones are made again."""
        how = {**asdict(self.settings.how), "seed": self.settings.seed}
        return {"kind": "stylize", **self.identity, **how, "data": self.selection.fingerprint}

    def _linked(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        shards = self.selection.shards
        return [
            (role, str(shards[row[f"{role}_shard"]]))
            for role in ("content", "style")
            if role in self.settings.needs.inputs and row[f"{role}_shard"] >= 0
        ]

    def _make(self, first: int) -> None:
        from toolkit.core.keyed import key63

        stop = min(first + self.settings.batch_size, len(self.selection))
        rows = self.selection.table.slice(first, stop - first).to_pylist()
        needs = self.settings.needs
        assembler = Assembler([self.selection], needs.size, needs.inputs)
        wants = [
            Want(0, first + i, key63("stylize", self.settings.seed, row["key"]) << 1)
            for i, row in enumerate(rows)
        ]
        batch = assembler.assemble(wants)
        assembler.close()
        device = next(self.method.module().parameters()).device
        start = time.monotonic()
        made = self.method.stylize(self.method.request(batch.to(device), self.settings.how)).cpu()
        self.spent_s += [(time.monotonic() - start) / len(rows)] * len(rows)
        self._ready = {
            row["key"]: (to_uint8(pixels), row) for row, pixels in zip(rows, made, strict=True)
        }
