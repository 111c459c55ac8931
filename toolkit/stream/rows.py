"""A compiled selection, ready for single lookups: numbers are views of the mapped file."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from toolkit.store.selection import Selection
from toolkit.stream.coalesce import Piece


class Rows:
    """Lookups in one selection by row number, in any thread.

    Args:
        selection: the compiled samples.
        roles: those that will be looked up; the selection need not have them.
    """

    def __init__(self, selection: Selection, roles: Iterable[str]):
        self.name, self._length = selection.name, len(selection)
        self._paths = [str(path) for path in selection.shards]
        roles = tuple(roles)
        facts = ("key", "caption", "style", "artist", "weight")
        self._columns = {name: _whole(selection, name) for name in facts}
        self._places = {
            role: (
                *(_whole(selection, f"{role}_{name}").to_numpy()
                  for name in ("shard", "offset", "size")),
                _whole(selection, f"{role}_key"),
            )
            for role in roles
        }  # fmt: skip

    def __len__(self) -> int:
        return self._length

    def pieces(self, row: int, number: int = 0) -> dict[str, Piece]:
        """The pictures of a row by role; roles that it lacks are absent. number: of the sample
        in its batch."""
        found = {}
        for role, (shards, offsets, sizes, keys) in self._places.items():
            shard = shards[row]
            if shard >= 0:
                found[role] = Piece(self._paths[shard], int(offsets[row]), int(sizes[row]),
                                    number, role, keys[row].as_py())  # fmt: skip
        return found

    def largest(self) -> int:
        """Bytes of the largest picture."""
        return max((int(sizes.max()) for _, _, sizes, _ in self._places.values()), default=0)

    def value(self, name: str, row: int) -> Any:
        """A fact of a row: key, caption, style, artist, weight."""
        return self._columns[name][row].as_py()


def _whole(selection: Selection, name: str) -> pa.Array:
    column = selection.table.column(name)  # one chunk, in the mapped file
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
