"""Reads and decodes chosen samples of selections into one batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.store.images import PictureError
from toolkit.store.selection import ROLES, Selection
from toolkit.stream.batch import Batch, ImageSet
from toolkit.stream.decode import Framing, decode_square
from toolkit.stream.reader import RangeReader

MAX_SUBSTITUTES = 8


@dataclass(frozen=True)
class Want:
    """One sample to read. source: index of the selection; row: in it; seed: uint64."""

    source: int
    row: int
    seed: int


class Assembler:
    """Makes batches of named selections; several threads may work on one batch.

    Bytes that are there but do not decode are replaced by the next sample of the same source, the
    same one wherever this runs, and counted.

    Args:
        selections: the sources, in the order of the batch's `tasks`.
        size: pixels a side of the square pictures.
        roles: the roles to read; all that a selection has otherwise.
    """

    def __init__(
        self, selections: Sequence[Selection], size: int, roles: Iterable[str] | None = None
    ):
        found = {role for selection in selections for role in selection.roles}
        self.roles = tuple(role for role in ROLES if role in (set(roles) if roles else found))
        self.selections = tuple(selections)
        self.size = size
        self._reader = RangeReader()

    def start(self, wants: Sequence[Want]) -> "Pending":
        """Prepares an empty batch for the wanted samples."""
        return Pending(self, wants)

    def assemble(self, wants: Sequence[Want], cursor: dict[str, Any] | None = None) -> Batch:
        """Reads and decodes the wanted samples in this thread."""
        pending = self.start(wants)
        for index in range(len(wants)):
            pending.fill(index)
        return pending.finish(cursor or {})

    def close(self) -> None:
        """Closes the shards."""
        self._reader.close()

    def decode(self, source: int, row: int, out: dict[str, np.ndarray]) -> dict[str, Framing]:
        """Reads one sample's pictures into the given uint8 [S,S,3] arrays; PictureError if not."""
        selection = self.selections[source]
        framings = {}
        for role in self.roles:
            shard = selection.table.column(f"{role}_shard")[row].as_py()
            if shard is None:
                continue
            offset = selection.table.column(f"{role}_offset")[row].as_py()
            size = selection.table.column(f"{role}_size")[row].as_py()
            data = self._reader.read(selection.shards[shard], offset, size)
            framings[role] = decode_square(data, out[role])
        return framings


class Pending:
    """A batch under construction: `fill` each index, in any order and thread, then `finish`."""

    def __init__(self, owner: Assembler, wants: Sequence[Want]):
        self._owner, self._wants = owner, wants
        shape = (len(wants), owner.size, owner.size, 3)
        self._pixels = {role: np.zeros(shape, np.uint8) for role in owner.roles}
        self._rows = [0] * len(wants)
        self._framings: list[dict[str, Framing]] = [{} for _ in wants]
        self._substituted = [0] * len(wants)

    def fill(self, index: int) -> None:
        """Reads and decodes sample `index`. Raises UserError when nothing usable is found."""
        want = self._wants[index]
        selection = self._owner.selections[want.source]
        out = {role: pixels[index] for role, pixels in self._pixels.items()}
        row, problem = want.row, ""
        for attempt in range(MAX_SUBSTITUTES + 1):
            try:
                self._framings[index] = self._owner.decode(want.source, row, out)
                self._rows[index], self._substituted[index] = row, int(attempt > 0)
                return
            except PictureError as error:
                problem = f"{selection.table.column('key')[row].as_py()}: {error}"
                for pixels in out.values():
                    pixels[:] = 0
                row = (row + 1) % len(selection)
        raise UserError(
            f"{MAX_SUBSTITUTES + 1} samples of {selection.name} in a row do not decode, the last "
            f"is {problem}; check the data with python -m toolkit.verify"
        )

    def finish(self, cursor: dict[str, Any]) -> Batch:
        """The batch, once every index is filled."""
        owner = self._owner
        sources = [want.source for want in self._wants]

        def column(name: str) -> list[Any]:
            return [
                owner.selections[s].table.column(name)[r].as_py()
                for s, r in zip(sources, self._rows, strict=True)
            ]

        return Batch(
            tasks=tuple(selection.name for selection in owner.selections),
            task=torch.tensor(sources, dtype=torch.int64),
            images={role: self._images(role, column(f"{role}_key")) for role in owner.roles},
            keys=tuple(column("key")),
            captions=tuple(column("caption")),
            style_names=tuple(column("style")),
            weights=torch.tensor(column("weight"), dtype=torch.float32),
            sample_seed=torch.tensor([w.seed >> 1 for w in self._wants], dtype=torch.int64),
            num_substituted=sum(self._substituted),
            cursor=cursor,
        )

    def _images(self, role: str, keys: list[str | None]) -> ImageSet:
        frames = [framing.get(role, Framing(0, 0, 0, 0)) for framing in self._framings]
        present = [role in framing for framing in self._framings]
        return ImageSet(
            pixels=torch.from_numpy(self._pixels[role]).permute(0, 3, 1, 2),
            present=torch.tensor(present, dtype=torch.bool),
            keys=tuple(key or "" for key in keys),
            original_size=torch.tensor([(f.height, f.width) for f in frames], dtype=torch.int64),
            crop_offset=torch.tensor([(f.top, f.left) for f in frames], dtype=torch.int64),
        )
