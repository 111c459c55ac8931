"""WikiArt as the Hugging Face Hub has it: Parquet or Arrow files with one painting a row.

The column `image` is a struct of bytes and path; `artist`, `style` and `genre` are texts, or class
labels whose names stand as JSON in the schema's metadata, where `datasets` writes them.
"""

import bisect
import functools
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError, one_line
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import PictureError
from toolkit.store.keys import readable
from toolkit.wikiart.found import Found, artist_and_title, spaced

LABELS = ("artist", "style", "genre")
_BUFFER = 1 << 20
_ROWS_AT_ONCE = 8
UNKNOWN = frozenset({"Unknown Artist", "Unknown Genre", "Unknown Style", ""})


def data_files(root: Path) -> Iterator[str]:
    """Parquet files below `root`, or else Arrow files, relative to it and in order."""
    for ending in (".parquet", ".arrow"):
        found = walk_files(root, lambda name, ending=ending: name.endswith(ending))  # type: ignore[misc]
        first = next(found, None)
        if first is not None:
            yield first
            yield from found
            return


def check_file(path: Path) -> None:
    """Raises UserError when the file is damaged or holds no pictures, or numbers without names."""
    try:
        with _opened(path) as (schema, _):
            _struct_of(path, schema)
            _label_names(path, schema)
    except (ValueError, OSError) as error:
        raise UserError(f"cannot read {path} ({one_line(error, 120)}): get it again") from None


def paintings(root: Path, notes: Counter[str]) -> Iterator[Found]:
    """The rows of all files below `root`, file by file. Only labels and names are read."""
    for name in data_files(root):
        path = root / name
        check_file(path)
        with _opened(path) as (schema, batches):
            names, stamp = _label_names(path, schema), stamp_of(path)
            columns = [column for column in LABELS if column in schema.names]
            numbers = itertools.count()
            for labels, files in batches(columns, "path" in _struct_of(path, schema)):
                for row, file, number in zip(labels, files, numbers, strict=False):
                    facts = {c: _text(row.get(c), names.get(c), notes) for c in LABELS}
                    yield _found(name, number, stamp, facts, file)


def read_bytes(path: Path, row: int) -> bytes:
    """The picture of one row, as it was stored. Quick for the row after the last one read.

    Raises PictureError for a row without bytes or a damaged file, OSError for one that is gone.
    """
    changed = path.stat().st_mtime_ns
    try:
        if path.suffix == ".arrow":
            value = _arrow_column(str(path), changed)[row].as_py()
        else:
            value = _cursor(str(path), changed).read(row)
    except (ValueError, OSError, IndexError, StopIteration) as error:
        reason = one_line(error, 120) or "it lies behind a damaged one"
        raise PictureError("unreadable", f"row {row} of {path.name}: {reason}") from None
    data = value.get("bytes") if isinstance(value, dict) else None
    if not data:
        raise PictureError("no_picture", f"row {row} of {path.name} holds no bytes")
    return bytes(data)


class _Cursor:
    """Reads the pictures of a Parquet file forwards, a few at a time.

    A row group can hold a thousand paintings, half a gigabyte, and reading it whole takes five
    times that; this takes what its largest page needs. Going back costs a walk from the start of
    the row group.
    """

    def __init__(self, path: str):
        import pyarrow.parquet as pq

        # with a buffer, pages are read when they are needed
        self._file = pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
        metadata = self._file.metadata
        sizes = (metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        self._starts = [0, *itertools.accumulate(sizes)]
        self._group, self._first = -1, 0
        self._batches: Iterator[Any] = iter(())
        self._values: Any = ()
        self._lock = threading.Lock()

    def read(self, row: int) -> Any:
        """The value of one row. Raises IndexError; ValueError or OSError for damage, and
        StopIteration for rows behind it."""
        if not 0 <= row < self._starts[-1]:
            raise IndexError("the file has fewer rows")
        with self._lock:
            group = bisect.bisect_right(self._starts, row) - 1
            if group != self._group or row < self._first:
                self._group, self._first, self._values = group, self._starts[group], ()
                self._batches = self._file.iter_batches(
                    _ROWS_AT_ONCE, row_groups=[group], columns=["image"], use_threads=False
                )
            while row >= self._first + len(self._values):
                self._first += len(self._values)
                self._values = ()  # before the next ones, so that only one lot is in memory
                self._values = next(self._batches).column("image")
            return self._values[row - self._first].as_py()


@functools.lru_cache(maxsize=1)
def _cursor(path: str, changed: int) -> _Cursor:
    return _Cursor(path)


@functools.lru_cache(maxsize=1)
def _arrow_column(path: str, changed: int) -> Any:
    with _arrow_reader(path) as reader:
        return reader.read_all().column("image")  # mapped, not read


@contextmanager
def _arrow_reader(path: str) -> Iterator[Any]:
    import pyarrow as pa

    source = pa.memory_map(path)
    try:  # `datasets` keeps streams in its cache; others write files
        reader = pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        source.seek(0)
        reader = pa.ipc.open_file(source)
    with reader:
        yield reader


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The schema, and a function that gives (rows of labels, file names) batch by batch."""
    if path.suffix == ".arrow":
        with _arrow_reader(str(path)) as reader:

            def arrow_batches(columns: list[str], named: bool) -> Iterator[tuple[Any, Any]]:
                table = reader.read_all()
                for batch in table.to_batches():
                    yield _split_batch(batch, columns, named)

            yield reader.schema, arrow_batches
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:

        def batches(columns: list[str], named: bool) -> Iterator[tuple[Any, Any]]:
            # the names alone, not the bytes beside them; a column is needed to count rows by
            wanted = [*columns, "image.path"] if named else columns or ["image"]
            for batch in file.iter_batches(columns=wanted):
                yield _split_batch(batch, columns, named)

        yield file.schema_arrow, batches


def _split_batch(batch: Any, columns: list[str], named: bool) -> tuple[Any, Any]:
    files = [None] * batch.num_rows
    if named:
        files = batch.column("image").field("path").to_pylist()
    return batch.select(columns).to_pylist() if columns else [{}] * batch.num_rows, files


def _struct_of(path: Path, schema: Any) -> set[str]:
    """The fields of the column `image`."""
    import pyarrow as pa

    kind = schema.field("image").type if "image" in schema.names else None
    fields = {field.name for field in kind} if kind and pa.types.is_struct(kind) else set()
    if "bytes" not in fields:
        raise UserError(f"{path} has no column image with bytes: it is no WikiArt file of the Hub")
    return fields


def _label_names(path: Path, schema: Any) -> dict[str, list[str]]:
    """The names of the classes of each column of numbers."""
    import pyarrow as pa

    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        features = {}
    names = {}
    for column in LABELS:
        if column in schema.names and pa.types.is_integer(schema.field(column).type):
            feature = features.get(column)
            if not isinstance(feature, dict) or not isinstance(feature.get("names"), list):
                raise UserError(
                    f"{path} numbers its {column} without naming the numbers: "
                    "take the file as the Hub gives it, with its metadata"
                )
            names[column] = feature["names"]
    return names


def _text(value: Any, names: list[str] | None, notes: Counter[str]) -> str | None:
    if isinstance(value, int) and names is not None:
        if value >= len(names):
            notes["labels of no known class"] += 1
        value = names[value] if 0 <= value < len(names) else None  # -1: not known
    return None if value is None or str(value) in UNKNOWN else str(value)


def _found(
    name: str, number: int, stamp: str, facts: dict[str, str | None], file: str | None
) -> Found:
    source_id = f"{name}#{number}"
    halves = artist_and_title(file or "")
    artist = facts["artist"]
    # a name of another form says nothing about the work
    is_own = halves and artist and spaced(halves[0]).casefold() == _plain(artist)
    return Found(
        source_id=readable(source_id),
        file=name,
        row=number,
        stamp=stamp,
        key=readable(f"{name.rpartition('.')[0]}-{number:06d}"),
        title=spaced(halves[1]) if halves and is_own else None,
        caption=None,
        licence=None,
        group=readable((artist or "").casefold()),
        work=readable((file or "").rpartition("/")[2].casefold() if halves else source_id),
        **facts,  # type: ignore[arg-type]
    )


def _plain(artist: str) -> str:
    return artist.replace("-", " ").replace("_", " ").casefold()
