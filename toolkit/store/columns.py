"""A table that grows on disk and ends as one mapped file, so that its size is not one of memory.

A column's buffers (https://arrow.apache.org/docs/format/Columnar.html) are files that are appended
to: numbers as they are, texts as their bytes beside where each ends, and which rows have a value.
What Arrow is given in the end are these files, mapped.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.core.files import atomic_path

_MOST = (1 << 31) - 1  # bytes of texts that 32-bit offsets reach
_ROWS = 1 << 20  # at a time; of eight, so that their bits fill whole bytes

Change = Callable[[Any], Any]


class Columns:
    """Columns of numbers and texts that are appended to, batch after batch.

    folder: for their files.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._columns: dict[str, _Column] = {}

    def append(self, columns: Mapping[str, Any]) -> None:
        """Adds rows: arrays of one length, of the same names and types each time."""
        for name, values in columns.items():
            if name not in self._columns:
                self._columns[name] = _Column(self._folder / name, values.type)
            chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
            for chunk in chunks:
                self._columns[name].append(chunk)

    def write(self, path: Path, facts: Mapping[str, str], changes: Mapping[str, Change]) -> None:
        """Writes an Arrow file with one batch, so that each column can be read from it as it lies.
        facts: its metadata; changes: what becomes of a column of numbers, some rows at a time, by
        its name."""
        whole = {name: col.whole(changes.get(name)) for name, col in self._columns.items()}
        table = pa.table(whole).replace_schema_metadata(dict(facts))
        with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as out:
            out.write_table(table)


class _Column:
    """One column. stem: where its files begin."""

    def __init__(self, stem: Path, kind: pa.DataType):
        self._kind = kind
        self._is_text = pa.types.is_string(kind)
        self._paths = {part: Path(f"{stem}.{part}") for part in ("values", "ends", "valid")}
        self._files = {part: path.open("wb") for part, path in self._paths.items()}
        self._num_rows = self._num_bytes = self._num_nulls = 0

    def append(self, chunk: pa.Array) -> None:
        valid, *_ = chunk.buffers()
        if valid is None:
            self._files["valid"].write(b"\x01" * len(chunk))
        else:
            self._files["valid"].write(chunk.is_valid().cast(pa.uint8()).to_numpy().tobytes())
        self._num_rows += len(chunk)
        self._num_nulls += chunk.null_count
        if self._is_text:
            self._append_texts(chunk)
        else:
            size = chunk.type.bit_width // 8
            start = chunk.offset * size
            self._files["values"].write(chunk.buffers()[1][start : start + len(chunk) * size])

    def _append_texts(self, chunk: pa.Array) -> None:
        _, ends, texts = chunk.buffers()
        at = np.frombuffer(ends, np.int32, len(chunk) + 1, chunk.offset * 4) if ends else [0]
        if texts is not None:
            self._files["values"].write(texts[int(at[0]) : int(at[-1])])
        moved = np.asarray(at[1:], np.int64) + (self._num_bytes - int(at[0]))
        self._files["ends"].write(moved.tobytes())
        self._num_bytes += int(at[-1]) - int(at[0])

    def whole(self, change: Change | None) -> pa.Array:
        """The column, mapped from its files."""
        for file in self._files.values():
            file.close()
        if change is not None and self._num_rows:
            values = np.memmap(self._paths["values"], self._kind.to_pandas_dtype(), "r+")
            for start in range(0, len(values), _ROWS):
                values[start : start + _ROWS] = change(values[start : start + _ROWS])
        buffers = [self._bits() if self._num_nulls else None, _mapped(self._paths["values"])]
        kind = self._kind
        if self._is_text:
            kind = pa.string() if self._num_bytes <= _MOST else pa.large_string()
            buffers.insert(1, self._offsets(np.int32 if kind == pa.string() else np.int64))
        return pa.Array.from_buffers(kind, self._num_rows, buffers, self._num_nulls)

    def _bits(self) -> pa.Buffer:
        return self._rewritten("valid", np.uint8, lambda part: np.packbits(part, bitorder="little"))

    def _offsets(self, dtype: Any) -> pa.Buffer:
        """Where texts begin and end, one more than there are."""
        first = np.zeros(1, dtype).tobytes()
        return self._rewritten("ends", np.int64, lambda part: part.astype(dtype), first)

    def _rewritten(self, part: str, dtype: Any, change: Change, first: bytes = b"") -> pa.Buffer:
        path = self._paths[part].with_suffix(".whole-" + part)
        with path.open("wb") as out:
            out.write(first)
            rows = np.memmap(self._paths[part], dtype, "r") if self._num_rows else ()
            for start in range(0, len(rows), _ROWS):
                out.write(change(rows[start : start + _ROWS]).tobytes())
        self._paths[part].unlink()
        return _mapped(path)


def _mapped(path: Path) -> pa.Buffer:
    if not path.stat().st_size:  # nothing to map
        return pa.py_buffer(b"")
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


@contextmanager
def growing(beside: Path) -> Iterator[Columns]:
    """Columns whose files lie beside what they become; they are gone in the end."""
    with TemporaryDirectory(prefix=".columns-", dir=beside.parent) as folder:
        yield Columns(Path(folder))
