"""The sidecar that says which pictures have copies, and which of them stay."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from toolkit.core.errors import UserError
from toolkit.duplicates.report import names_of
from toolkit.duplicates.search import Found
from toolkit.store.layout import Layout
from toolkit.store.sidecar import read_columns, write_columns

SIDECAR = "dedup"
KINDS = {"dup_group": pa.string(), "keep": pa.bool_(), "dup_distance": pa.int64()}
"""Its columns."""


def write_sidecars(layout: Layout, datasets: Sequence[str], found: Found) -> None:
    """Writes one for each shard of the datasets. Of samples that took no part it says what an
    earlier search did, or nothing, and then they stay."""
    values = _values(found)
    for dataset in datasets:
        for path in layout.manifests_of(dataset):
            every = {**_earlier(layout, dataset, path.stem), **values.get((dataset, path.stem), {})}
            write_columns(layout, dataset, path.stem, SIDECAR, every, KINDS, {"keep": True})


def _earlier(layout: Layout, dataset: str, stem: str) -> dict[str, dict[str, Any]]:
    """What is known of a shard's samples by key; nothing where it was packed anew since."""
    try:
        rows = read_columns(layout, dataset, stem, SIDECAR).to_pylist()
    except UserError:
        return {}
    return {row["key"]: {name: row.get(name) for name in KINDS} for row in rows}


def _values(found: Found) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """By dataset and shard the columns of each key that took part."""
    values: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    names, groups = names_of(found), found.groups
    for row in found.pictures.select(["dataset", "shard", "key"]).to_pylist():
        values.setdefault((row["dataset"], row["shard"]), {})[row["key"]] = {"keep": True}
    rows = pa.array((groups.number >= 0).nonzero()[0])
    chosen = found.pictures.select(["dataset", "shard", "key"]).take(rows).to_pylist()
    for row, place in zip(chosen, rows.to_pylist(), strict=True):
        distance = int(groups.distance[place])
        values.setdefault((row["dataset"], row["shard"]), {})[row["key"]] = {
            "dup_group": names[groups.number[place]],
            "keep": bool(groups.keep[place]),
            "dup_distance": distance if distance >= 0 else None,
        }
    return values
