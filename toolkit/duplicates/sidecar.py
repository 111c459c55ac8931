"""The sidecar that says which pictures have copies, and which of them stay."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from toolkit.duplicates.report import names_of
from toolkit.duplicates.search import Found
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.sidecar import write_columns

SIDECAR = "dedup"
KINDS = {"dup_group": pa.string(), "keep": pa.bool_(), "dup_distance": pa.int64()}
"""Its columns."""


def write_sidecars(layout: Layout, datasets: Sequence[str], found: Found) -> None:
    """Writes one for each shard of the datasets; samples that took no part stay."""
    values = _values(found)
    for dataset in datasets:
        for path in layout.manifests_of(dataset):
            own = values.get((dataset, path.stem), {})
            keys = [row["key"] for row in read_manifest(path, ["key"])]
            every = {key: own.get(key, {"keep": True}) for key in keys}
            write_columns(layout, dataset, path.stem, SIDECAR, every, KINDS)


def _values(found: Found) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """By dataset and shard the columns of each key that has copies."""
    values: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    names, groups = names_of(found), found.groups
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
