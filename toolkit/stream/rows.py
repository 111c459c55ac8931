"""A compiled selection, ready for single lookups: numbers are views of the mapped file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toolkit.store.selection import Selection


@dataclass(frozen=True)
class Range:
    """Where a picture's bytes lie. path: of the tar; offset, size: in bytes."""

    path: str
    offset: int
    size: int


class Rows:
    """Lookups in one selection by row number, in any thread.

    Args:
        selection: the compiled samples.
        roles: those that will be looked up; the selection need not have them.
    """

    def __init__(self, selection: Selection, roles: Iterable[str]):
        self.name, self._length = selection.name, len(selection)
        self._paths = [str(path) for path in selection.shards]
        facts = ("key", "caption", "style", "weight", *(f"{role}_key" for role in roles))
        self._columns = {name: selection.table.column(name).combine_chunks() for name in facts}
        self._places = {
            role: [
                selection.table.column(f"{role}_{field}").to_numpy()
                for field in ("shard", "offset", "size")
            ]
            for role in roles
        }

    def __len__(self) -> int:
        return self._length

    def ranges(self, row: int) -> dict[str, Range]:
        """The pictures of a row by role; roles that it lacks are absent."""
        return {
            role: Range(self._paths[shards[row]], int(offsets[row]), int(sizes[row]))
            for role, (shards, offsets, sizes) in self._places.items()
            if shards[row] >= 0
        }

    def value(self, name: str, row: int) -> Any:
        """A fact of a row: key, caption, style, weight, or ROLE_key."""
        return self._columns[name][row].as_py()
