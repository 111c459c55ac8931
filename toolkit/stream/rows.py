"""A compiled selection, ready for lookups: numbers are views of the mapped file."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.store.selection import Selection
from toolkit.stream.coalesce import Piece

_AT_ONCE = 4_000_000  # pictures
_OFFSET_BITS = 40  # a terabyte in a tar, eight million tars


class Sample(NamedTuple):
    """A row of a selection. pieces: its pictures by role; roles that it lacks are absent."""

    key: str
    caption: str
    style: str | None
    artist: str | None
    weight: float
    pieces: dict[str, Piece]


class Rows:
    """Lookups in one selection by row number, in any thread.

    Args:
        selection: the compiled samples.
        roles: those that will be looked up; the selection need not have them.
    """

    def __init__(self, selection: Selection, roles: Iterable[str]):
        self.name, self._length = selection.name, len(selection)
        self._paths = [str(path) for path in selection.shards]
        names = (name for name in Sample._fields if name != "pieces")
        self._facts = [whole_column(selection, name) for name in names]
        self._places = {
            role: (
                *(_numbers(selection, f"{role}_{name}") for name in ("shard", "offset", "size")),
                whole_column(selection, f"{role}_key"),
            )
            for role in roles
        }

    def __len__(self) -> int:
        return self._length

    def samples(self, rows: Sequence[int]) -> list[Sample]:
        """The samples of some rows."""
        wanted = np.array(rows, np.int64)
        found: list[dict[str, Piece]] = [{} for _ in rows]
        for role, (*places, keys) in self._places.items():
            columns = (column[wanted].tolist() for column in places)
            every = zip(found, *columns, _taken(keys, wanted), strict=True)
            for pieces, shard, offset, size, key in every:
                if shard >= 0:
                    pieces[role] = Piece(self._paths[shard], offset, size, role, key)
        facts = (_taken(column, wanted) for column in self._facts)
        return list(map(Sample._make, zip(*facts, found, strict=True)))

    def num_bytes(self) -> int:
        """Bytes of all pictures, those that several samples share counted once; of some shards
        after the other, so that memory does not grow with the samples."""
        uses = np.zeros(len(self._paths), np.int64)  # a shard of contents may have most of them
        for shards, *_ in self._places.values():
            uses += np.bincount(shards[shards >= 0], minlength=len(uses))
        rounds = np.cumsum(uses) // _AT_ONCE
        edges = [0, *(np.flatnonzero(np.diff(rounds)) + 1).tolist(), len(uses)]
        return sum(self._bytes_in(first, last) for first, last in pairwise(edges))

    def _bytes_in(self, first: int, last: int) -> int:
        """Of the shards `first` … `last` − 1."""
        places, bytes_of = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for shards, offsets, sizes, _ in self._places.values():
            here = np.flatnonzero((shards >= first) & (shards < last))
            places.append(shards[here].astype(np.int64) << _OFFSET_BITS | offsets[here])
            bytes_of.append(sizes[here])
        _, once = np.unique(np.concatenate(places), return_index=True)
        return int(np.concatenate(bytes_of)[once].sum())

    def largest(self) -> int:
        """Bytes of the largest picture."""
        return max((int(sizes.max()) for _, _, sizes, _ in self._places.values()), default=0)


def whole_column(selection: Selection, name: str) -> pa.Array:
    """A column in one piece."""
    column = selection.table.column(name)  # one chunk, in the mapped file
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(selection: Selection, name: str) -> np.ndarray:
    return np.asarray(whole_column(selection, name).to_numpy())


def _taken(column: pa.Array, rows: np.ndarray) -> list[Any]:
    return column.take(pa.array(rows)).to_pylist()
