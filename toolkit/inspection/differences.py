"""Two versions of a dataset, sample by sample: by their keys, what was added, removed, changed."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from toolkit.store.manifest import SCHEMA

# where a sample lies, and what its members are, follows from the packing; sha256 is of the picture
_NOT_COMPARED = ("key", "dataset", "shard", "members")
COMPARED = tuple(name for name in SCHEMA.names if name not in _NOT_COMPARED)


@dataclass(frozen=True)
class Differences:
    """same: samples without a difference. added, removed: samples of the second and of the first
    version only. columns: by column, in how many samples of both it differs. rows: (key, what,
    columns) of each sample that is not the same, by key."""

    same: int
    added: int
    removed: int
    columns: dict[str, int]
    rows: list[tuple[str, str, str]]

    @property
    def changed(self) -> int:
        """Samples of both versions that differ."""
        return sum(what == "changed" for _, what, _ in self.rows)


def differences(first: pa.Table, second: pa.Table) -> Differences:
    """Compares the rows of two versions, one a key each; with the columns `key` and `COMPARED`."""
    import duckdb

    con = duckdb.connect()
    con.execute("SET enable_progress_bar=false")
    con.register("a", first)
    con.register("b", second)
    named = ", ".join(
        f"CASE WHEN a.{name} IS DISTINCT FROM b.{name} THEN '{name}' END" for name in COMPARED
    )
    found = con.execute(
        f"SELECT coalesce(a.key, b.key) AS key, CASE WHEN b.key IS NULL THEN 'removed' "
        f"WHEN a.key IS NULL THEN 'added' ELSE 'changed' END AS what, "
        f"CASE WHEN a.key IS NULL OR b.key IS NULL THEN [] "
        f"ELSE list_filter([{named}], lambda c: c IS NOT NULL) END AS columns "
        "FROM a FULL OUTER JOIN b ON a.key = b.key "
        "WHERE a.key IS NULL OR b.key IS NULL OR len(columns) > 0 ORDER BY key"
    ).fetchall()
    counts: dict[str, Any] = {}
    for _, _, columns in found:
        for column in columns:
            counts[column] = counts.get(column, 0) + 1
    number = {what: sum(row[1] == what for row in found) for what in ("added", "removed")}
    return Differences(
        same=first.num_rows - sum(row[1] != "added" for row in found),
        added=number["added"],
        removed=number["removed"],
        columns={name: counts[name] for name in COMPARED if name in counts},
        rows=[(key, what, ", ".join(columns)) for key, what, columns in found],
    )
