"""Reads and decodes chosen samples of selections into one batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.store.images import PictureError
from toolkit.store.selection import ROLES, Selection
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch, ImageSet
from toolkit.stream.decode import Framing, decode_square
from toolkit.stream.reader import RangeReader
from toolkit.stream.rows import Rows

MAX_SUBSTITUTES = 8


@dataclass(frozen=True)
class Want:
    """One sample to read. source: index of the selection; row: in it; seed: uint64; is_padding:
    whether it only fills the last batch, with weight 0."""

    source: int
    row: int
    seed: int
    is_padding: bool = False


class Assembler:
    """Makes batches of named selections; several threads may work on one batch.

    Bytes that are there but do not decode are replaced by the next sample of the same source, the
    same one wherever this runs, and counted.

    Args:
        selections: the sources, in the order of the batch's `tasks`.
        size: pixels a side of the square pictures.
        roles: the roles to read; all that a selection has otherwise.
        augment: how pictures are cut and flipped, and captions dropped.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        size: int,
        roles: Iterable[str] | None = None,
        augment: Augment = Augment(),  # noqa: B008 - frozen
    ):
        found = {role for selection in selections for role in selection.roles}
        self.roles = tuple(role for role in ROLES if role in (set(roles) if roles else found))
        self.rows = tuple(Rows(selection, self.roles) for selection in selections)
        self.size, self.augment = size, augment
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

    def decode(
        self, source: int, row: int, seed: int, out: dict[str, np.ndarray]
    ) -> dict[str, Framing]:
        """Reads one sample's pictures into the given uint8 [S,S,3] arrays; PictureError if not."""
        return {
            role: decode_square(
                self._reader.read(place.path, place.offset, place.size),
                out[role],
                self.augment.cut(seed, role),
            )
            for role, place in self.rows[source].ranges(row).items()
        }


class Pending:
    """A batch under construction: `fill` each index, in any order and thread, then `finish`."""

    def __init__(self, owner: Assembler, wants: Sequence[Want]):
        self._owner, self._wants = owner, wants
        shape = (len(wants), owner.size, owner.size, 3)
        # not zeros: memory that an earlier batch left is taken again without touching it
        self._pixels = {role: np.empty(shape, np.uint8) for role in owner.roles}
        self._rows = [0] * len(wants)
        self._framings: list[dict[str, Framing]] = [{} for _ in wants]
        self._substituted = [0] * len(wants)

    def fill(self, index: int) -> None:
        """Reads and decodes sample `index`. Raises UserError when nothing usable is found."""
        want = self._wants[index]
        rows = self._owner.rows[want.source]
        out = {role: pixels[index] for role, pixels in self._pixels.items()}
        row, problem = want.row, ""
        for attempt in range(MAX_SUBSTITUTES + 1):
            try:
                framings = self._owner.decode(want.source, row, want.seed, out)
            except PictureError as error:
                problem = f"{rows.value('key', row)}: {error}"
                row = (row + 1) % len(rows)
                continue
            for role in out.keys() - framings.keys():
                out[role][:] = 0
            self._framings[index] = framings
            self._rows[index], self._substituted[index] = row, int(attempt > 0)
            return
        raise UserError(
            f"{MAX_SUBSTITUTES + 1} samples of {rows.name} in a row do not decode, the last "
            f"is {problem}; check the data with python -m toolkit.verify"
        )

    def finish(self, cursor: dict[str, Any]) -> Batch:
        """The batch, once every index is filled."""
        owner = self._owner
        sources = [want.source for want in self._wants]

        def column(name: str) -> list[Any]:
            return [owner.rows[s].value(name, r) for s, r in zip(sources, self._rows, strict=True)]

        return Batch(
            tasks=tuple(rows.name for rows in owner.rows),
            task=torch.tensor(sources, dtype=torch.int64),
            images={role: self._images(role, column(f"{role}_key")) for role in owner.roles},
            keys=tuple(column("key")),
            captions=tuple(
                "" if owner.augment.drops_caption(want.seed) else caption
                for want, caption in zip(self._wants, column("caption"), strict=True)
            ),
            style_names=tuple(column("style")),
            weights=torch.tensor(
                [
                    0.0 if want.is_padding else weight
                    for want, weight in zip(self._wants, column("weight"), strict=True)
                ],
                dtype=torch.float32,
            ),
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
            flipped=torch.tensor([f.flipped for f in frames], dtype=torch.bool),
        )
