"""Columns of sidecars in queries: which sidecar has a column, and the SQL that joins it.

A column is named alone, or as sidecar.column where two sidecars have one of that name. Samples that
a sidecar says nothing of have null there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of
from toolkit.store.layout import Layout
from toolkit.store.manifest import SCHEMA, SHARD_SHA256, manifest_metadata
from toolkit.store.sidecar import UNSEEN

_NOT_FOR_QUERIES = {"key", "pictures", "tensors"}


@dataclass(frozen=True)
class Attached:
    """One sidecar that queries read. name: its own; columns: those it has; files: of rows; unseen:
    columns that are not null where it says nothing, and the truth that they are there, as SQL."""

    name: str
    columns: tuple[str, ...]
    files: tuple[Path, ...]
    unseen: tuple[tuple[str, str], ...] = ()


def find_attached(
    layout: Layout, datasets: Sequence[str], names: Iterable[str], attached: Mapping[str, Attached]
) -> list[Attached]:
    """The sidecars that some names in an expression mean, which are columns or sidecars; those that
    are attached already left out, as are names of manifest columns.

    Raises UserError: a column that several sidecars have, a stale sidecar.
    """
    there = {*SCHEMA.names, *attached, *(c for a in attached.values() for c in a.columns)}
    wanted = set(names) - there
    if not wanted:
        return []
    known = _known(layout, datasets)
    found: dict[str, Attached] = {}
    for name in sorted(wanted):
        if name in known:
            found[name] = known[name]
    for name in sorted(wanted - set(found)):
        having = [a for a in known.values() if name in a.columns]
        named = [a for a in having if a.name in wanted or a.name in attached]
        if len(having) > 1 and not named:
            choices = " or ".join(f'"{a.name}".{name}' for a in having)
            raise UserError(f"several sidecars have a column {name}: write {choices}")
        found.update({a.name: a for a in (named or having)})
    for a in found.values():
        _refuse_stale(layout, a)
    return [a for a in found.values() if a.name not in attached]


def joined(rows: str, attached: Mapping[str, Attached]) -> str:
    """SQL for the rows of manifests with the attached columns, in the order in which they lie.

    rows: read_parquet(…) of manifests. Each sidecar is also a struct of its own name.
    """
    if not attached:
        return rows
    every = [column for a in attached.values() for column in a.columns]
    alone = {c for c in every if every.count(c) == 1 and c not in SCHEMA.names}
    shown, joins = ["m.* EXCLUDE (file_row_number)"], []
    for number, a in enumerate(attached.values()):
        files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in a.files)
        columns = ", ".join(_quoted(column) for column in a.columns)
        parts = "string_split(filename, '/')"
        joins.append(
            f"LEFT JOIN (SELECT key AS _key, {parts}[-4] AS _dataset, "
            f"replace({parts}[-1], '.parquet', '') AS _shard, {columns} "
            f"FROM read_parquet([{files}], union_by_name=true, filename=true)) AS a{number} "
            f"ON m.key = a{number}._key AND m.dataset = a{number}._dataset "
            f"AND m.shard = a{number}._shard"
        )
        values = {c: f"a{number}.{_quoted(c)}" for c in a.columns}
        values |= {c: f"coalesce({values[c]}, {truth})" for c, truth in a.unseen}
        own = ", ".join(f"{_quoted(c)} := {value}" for c, value in values.items())
        shown.append(f"struct_pack({own}) AS {_quoted(a.name)}")
        shown += [f"{value} AS {_quoted(c)}" for c, value in values.items() if c in alone]
    source = rows.removesuffix(")") + ", file_row_number=true)"
    return (
        f"(SELECT {', '.join(shown)} FROM {source} AS m {' '.join(joins)} "
        "ORDER BY m.dataset, m.shard, m.file_row_number)"
    )


def sidecar_columns(layout: Layout, datasets: Sequence[str]) -> list[str]:
    """The columns that queries may name beside those of manifests; none where a sidecar is
    damaged."""
    try:
        return sorted({c for a in _known(layout, datasets).values() for c in a.columns})
    except UserError:
        return []


def named_columns(layout: Layout, datasets: Sequence[str]) -> list[tuple[str, str]]:
    """Each sidecar's name with each column of it. Raises UserError for a damaged one."""
    return [(a.name, column) for a in _known(layout, datasets).values() for column in a.columns]


def attached_sha256(attached: Mapping[str, Attached]) -> str:
    """Hash of all that the attached sidecars say; empty where there is none."""
    if not attached:
        return ""
    digest = hashlib.sha256()
    for a in attached.values():
        for path in a.files:
            digest.update(f"{a.name} {path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _known(layout: Layout, datasets: Sequence[str]) -> dict[str, Attached]:
    files: dict[str, list[Path]] = {}
    columns: dict[str, dict[str, None]] = {}
    unseen: dict[str, dict[str, str]] = {}
    for dataset in datasets:
        for folder in layout.sidecars(dataset):
            paths = sorted(folder.glob(f"{dataset}-??????.parquet"))
            files.setdefault(folder.name, []).extend(paths)
            for path in paths[:1]:
                schema = _schema(path)
                fresh = dict.fromkeys(n for n in schema.names if n not in _NOT_FOR_QUERIES)
                unseen.setdefault(folder.name, {}).update(_unseen(schema))
                columns.setdefault(folder.name, {}).update(fresh)
    return {
        name: Attached(name, tuple(columns[name]), tuple(paths), tuple(unseen[name].items()))
        for name, paths in files.items()
        if columns.get(name)
    }


def _unseen(schema: pa.Schema) -> dict[str, str]:
    """The columns that are true or false where the sidecar says nothing."""
    told = {k: v.decode() for k, v in (schema.metadata or {}).items() if k.startswith(UNSEEN)}
    names = {k.removeprefix(UNSEEN).decode(): truth for k, truth in told.items()}
    return {n: t for n, t in names.items() if t in ("true", "false") and n in schema.names}


def _refuse_stale(layout: Layout, attached: Attached) -> None:
    for path in attached.files:
        dataset = path.parents[2].name
        made_from = (_schema(path).metadata or {}).get(SHARD_SHA256)
        manifest = layout.manifest_named(dataset, path.stem)
        if not manifest.is_file() or made_from != manifest_metadata(manifest)[SHARD_SHA256]:
            raise UserError(
                f"the sidecar {path} is stale, its shard was packed anew: make it again "
                "(toolkit.teach grade and toolkit.encode do), or delete its folder"
            )


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"the sidecar {path} is damaged ({error}): delete it") from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
