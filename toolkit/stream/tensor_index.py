"""Where the tensors of a sidecar lie: an index over all shards in use, compiled once and mapped
into memory, so that a million samples take none of it."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.core.errors import UserError
from toolkit.core.files import atomic_path, make_folder
from toolkit.store.layout import Layout
from toolkit.store.recipe import Recipe, variants
from toolkit.store.selection import Selection, selections_folder
from toolkit.store.tensors import open_rows, read_rows, tensors_path

_AT_ONCE = 1 << 16  # samples looked up together, so that a million need no memory
_SHIFT = 40  # bits of an offset in a place: tars of up to a terabyte
_FACTS = ("place", "size", "cause")  # columns before the offsets of the variants
Used = Mapping[tuple[Layout, str], Sequence[str]]  # data folders and dataset to its shards


@dataclass(frozen=True)
class Found:
    """Where a picture's tensors lie. offsets: in the tar, of each of its `variants`, by column and
    row; size: of each in bytes, 0 where there is none; cause: why not."""

    tar: str
    offsets: Sequence[np.ndarray]
    row: int
    size: int
    cause: str

    def offset(self, variant: int) -> int:
        """Of one variant."""
        return int(self.offsets[variant][self.row])


class TensorIndex:
    """An open index. dtype, shape: of the tensors; the first dimension is the largest there is."""

    def __init__(self, path: Path):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        facts = json.loads(table.schema.metadata[b"tessera"])
        self.dtype, self.shape = np.dtype(facts["dtype"]), tuple(facts["shape"])
        self._tars, self._causes = facts["tars"], facts["causes"]
        self._numbers = {path: number for number, path in enumerate(facts["shards"])}
        columns = [np.asarray(column.chunk(0).to_numpy()) for column in table.columns]
        self._columns = dict(zip(_FACTS, columns, strict=False))
        self._offsets = columns[len(_FACTS) :]

    def find(self, shard: str, picture: int) -> Found | None:
        """What is known of the picture at an offset of a shard; None where nothing is."""
        number = self._numbers.get(shard, -1)
        place, places = (number << _SHIFT) | picture, self._columns["place"]
        row = int(np.searchsorted(places, place))
        if row == len(places) or places[row] != place:
            return None
        size, cause = (int(self._columns[name][row]) for name in _FACTS[1:])
        return Found(self._tars[number], self._offsets, row, size, self._causes[cause])

    def lacking(self, selection: Selection, role: str) -> tuple[int, int]:
        """(pictures of a role that nothing is known of, pictures of that role)."""
        shards, offsets = (
            np.asarray(selection.table.column(f"{role}_{name}").to_numpy())
            for name in ("shard", "offset")
        )
        numbers = np.array([self._numbers.get(str(p), -1) for p in selection.shards] or [-1])
        places, unknown, count = self._columns["place"], 0, 0
        for start in range(0, len(shards), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            there = shards[some] >= 0
            wanted = (numbers[shards[some][there]] << _SHIFT) | offsets[some][there]
            rows = np.searchsorted(places, wanted).clip(max=max(0, len(places) - 1))
            is_known = places[rows] == wanted if len(places) else np.zeros(len(wanted), bool)
            unknown, count = unknown + int((~is_known).sum()), count + len(wanted)
        return unknown, count

    def largest(self) -> int:
        """Bytes of the largest tensor."""
        return int(self._columns["size"].max(initial=0))


def used_shards(sources: Iterable[tuple[Selection, str]]) -> Used:
    """The shards from which the pictures of each selection's role come."""
    found: dict[tuple[Layout, str], set[str]] = {}
    for selection, role in sources:
        shards = np.unique(np.asarray(selection.table.column(f"{role}_shard").to_numpy()))
        for number in shards[shards >= 0].tolist():
            path = selection.shards[number]
            found.setdefault((selection.layout, path.parent.name), set()).add(path.stem)
    return {place: sorted(stems) for place, stems in sorted(found.items(), key=str)}


def open_index(
    used: Used, sidecar: str, recipe: Recipe, output: str, cache: Path | None = None
) -> TensorIndex:
    """The index of one output of a sidecar. recipe: how it is made.

    Raises UserError: a sidecar that is missing, stale, or made in different ways.
    """
    places = [(*place, stem) for place, stems in used.items() for stem in stems]
    text, room = [], 0
    for layout, dataset, stem in places:
        with open_rows(layout, dataset, stem, sidecar, recipe.sha256) as file:
            room += _most_rows(file.metadata)
            facts = str(file.schema_arrow.metadata)
        text.append([str(layout.shards.absolute()), dataset, stem, facts])
    identity = hashlib.sha256(json.dumps([recipe.sha256, output, text]).encode()).hexdigest()
    folder = make_folder(cache or selections_folder(next(iter(used))[0]))
    path = folder / f"{sidecar}-{identity[:16]}.arrow"
    if not path.is_file():
        tables = (read_rows(*place, sidecar, recipe.sha256) for place in places)
        names = variants(output, recipe.settings)
        with TemporaryFile(dir=folder) as scratch:
            shape = (len(_FACTS) + len(names), max(room, 1))
            columns = np.memmap(scratch, np.int64, "w+", shape=shape)
            _compile(tables, places, sidecar, names, columns, path)
    return TensorIndex(path)


def _most_rows(metadata: Any) -> int:
    """At least as many as the index has of a file: its leaf values, told by its footer."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    leaves = ("pictures.list.element", "tensors.list.element.picture")
    return sum(column.num_values for column in columns if column.path_in_schema in leaves)


def _compile(
    tables: Iterable[pa.Table], places: Sequence[tuple[Layout, str, str]], sidecar: str,
    names: Sequence[str], columns: np.ndarray, path: Path,
) -> None:  # fmt: skip
    """Writes the index. names: the variants of the output; columns: a mapped file in which it is
    put together, a shard at a time."""
    causes, arrays, count = [""], set[str](), 0
    for number, table in enumerate(tables):
        failed = _failed(table, causes, len(columns))
        rows = np.concatenate([_encoded(table, names, arrays), *failed])
        rows[:, 0] |= number << _SHIFT
        columns[:, count : count + len(rows)] = rows[np.argsort(rows[:, 0], kind="stable")].T
        count += len(rows)
    dtypes, shapes = zip(*map(_parsed, sorted(arrays)), strict=True) if arrays else ((), ())
    if len(set(dtypes)) != 1 or len({shape[1:] for shape in shapes}) != 1:
        raise UserError(f"{sidecar} holds no tensors {names[0]} of one kind: {arrays or 'none'}")
    facts = {
        "shards": [str(layout.tar_named(name, stem)) for layout, name, stem in places],
        "tars": [str(tensors_path(*place, sidecar)) for place in places],
        "causes": causes, "dtype": dtypes[0], "shape": max(shapes),
    }  # fmt: skip
    titles = [*_FACTS, *names]
    found = pa.table({n: pa.array(c[:count]) for n, c in zip(titles, columns, strict=True)})
    found = found.replace_schema_metadata({"tessera": json.dumps(facts)})
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), found.schema) as writer:
        writer.write_table(found)


def _encoded(table: pa.Table, names: Sequence[str], arrays: set[str]) -> np.ndarray:
    flat = pc.list_flatten(table["tensors"]).combine_chunks()
    found = [flat.filter(pc.equal(flat.field("output"), name)) for name in names]
    plain = found[0]
    arrays.update(pc.unique(plain.field("array")).to_pylist())
    rows = np.zeros((len(plain), len(_FACTS) + len(names)), np.int64)
    rows[:, 0], rows[:, 1] = plain.field("picture").to_numpy(), plain.field("size").to_numpy()
    for column, variant in enumerate(found, len(_FACTS)):
        rows[:, column] = variant.field("offset").to_numpy()
    return rows


def _failed(table: pa.Table, causes: list[str], width: int) -> Iterator[np.ndarray]:
    failed = table.filter(pc.is_valid(table["cause"])).select(["cause", "pictures"])
    for row in failed.to_pylist():
        if row["cause"] not in causes:
            causes.append(row["cause"])
        rows = np.zeros((len(row["pictures"]), width), np.int64)
        rows[:, 0], rows[:, 2] = row["pictures"], causes.index(row["cause"])
        yield rows


def _parsed(array: str) -> tuple[str, tuple[int, ...]]:
    """`float16[4,64,64]` as its parts."""
    dtype, shape = re.fullmatch(r"(\w+)\[([\d,]*)\]", array).groups()  # type: ignore[union-attr]
    return dtype, tuple(map(int, shape.split(",")))
