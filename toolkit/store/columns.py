"""A table that grows on disk and ends as one mapped file, so that its size is not one of memory."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from toolkit.core.files import atomic_path

_MOST = (1 << 31) - 1  # bytes of texts that 32-bit offsets reach


class Columns:
    """Columns that are appended to, batch after batch, each in a file of its own.

    folder: for these files.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._bytes: dict[str, int] = {}

    def append(self, columns: Mapping[str, Any]) -> None:
        """Adds rows: arrays of one length, of the same names and types each time."""
        for name, values in columns.items():
            part = pa.table({name: values})
            if name not in self._writers:
                path = str(self._folder / f"{name}.parts")
                self._writers[name] = pa.ipc.new_stream(path, part.schema)
                self._bytes[name] = 0
            self._writers[name].write_table(part)
            self._bytes[name] += part.nbytes

    def write(
        self, path: Path, facts: Mapping[str, str], changes: Mapping[str, Callable[[Any], Any]]
    ) -> None:
        """Writes an Arrow file with one batch, so that each column can be read from it as it lies.
        facts: its metadata; changes: what becomes of a whole column, by name."""
        for writer in self._writers.values():
            writer.close()
        whole = {}
        for name in self._writers:
            self._join(name, changes.get(name, lambda values: values))
            mapped = pa.memory_map(str(self._folder / f"{name}.whole"))
            whole[name] = pa.ipc.open_file(mapped).read_all().column(0)
        table = pa.table(whole).replace_schema_metadata(dict(facts))
        with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as out:
            out.write_table(table)

    def _join(self, name: str, change: Callable[[Any], Any]) -> None:
        """Makes one piece of a column's parts; only this one column is in memory."""
        parts = self._folder / f"{name}.parts"
        with pa.memory_map(str(parts)) as mapped:
            column = pa.ipc.open_stream(mapped).read_all().column(0)
            if pa.types.is_string(column.type) and self._bytes[name] > _MOST:
                column = pc.cast(column, pa.large_string())
            table = pa.table({name: change(column.combine_chunks())})
        with pa.ipc.new_file(str(self._folder / f"{name}.whole"), table.schema) as out:
            out.write_table(table)
        parts.unlink()


@contextmanager
def growing(beside: Path) -> Iterator[Columns]:
    """Columns whose files lie beside what they become; they are gone in the end."""
    with TemporaryDirectory(prefix=".columns-", dir=beside.parent) as folder:
        yield Columns(Path(folder))
