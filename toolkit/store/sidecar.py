"""Columns added later: row by row in a manifest's order, bound to the shard they were made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.core.errors import UserError
from toolkit.core.files import atomic_path, make_folder
from toolkit.core.nearest import or_nearest
from toolkit.store.layout import Layout
from toolkit.store.manifest import SHARD_SHA256, manifest_metadata, read_manifest

UNSEEN = b"tessera.unseen."
"""Begins the metadata that tell what a column is for samples that it says nothing of."""


def sidecar_path(layout: Layout, dataset: str, stem: str, name: str) -> Path:
    """Where the sidecar `name` of one shard lies."""
    return layout.manifests / dataset / "sidecars" / name / f"{stem}.parquet"


def write_columns(
    layout: Layout,
    dataset: str,
    stem: str,
    name: str,
    values: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[str, pa.DataType] | None = None,
    unseen: Mapping[str, bool] | None = None,
) -> None:
    """Writes the sidecar of one shard; samples without values become null.

    Args:
        layout, dataset, stem: the shard.
        name: the sidecar's name.
        values: per key, column name to number or text.
        kinds: types of columns by their names, which are then there in any case; a number is
            float64 otherwise.
        unseen: what queries read of a column where it says nothing, in this sidecar or in datasets
            without one; null otherwise.
    """
    manifest = layout.manifest_named(dataset, stem)
    rows = read_manifest(manifest)
    kinds = kinds or {}
    columns = sorted({column for row in values.values() for column in row} | kinds.keys())
    table = pa.table(
        {
            "key": [row["key"] for row in rows],
            **{
                c: _array([values.get(r["key"], {}).get(c) for r in rows], kinds.get(c))
                for c in columns
            },
        }
    ).replace_schema_metadata({
        SHARD_SHA256: manifest_metadata(manifest)[SHARD_SHA256],
        **{UNSEEN + c.encode(): str(value).lower().encode() for c, value in (unseen or {}).items()},
    })  # fmt: skip
    path = sidecar_path(layout, dataset, stem, name)
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _array(found: list[Any], kind: pa.DataType | None) -> pa.Array:
    """Texts where one is; numbers otherwise, also where there is none."""
    usual = pa.string() if any(isinstance(v, str) for v in found) else pa.float64()
    return pa.array(found, kind or usual)


def read_columns(layout: Layout, dataset: str, stem: str, name: str) -> pa.Table:
    """The sidecar of one shard. Raises UserError when it is missing or stale."""
    path = sidecar_path(layout, dataset, stem, name)
    if not path.is_file():
        near = or_nearest(name, [folder.name for folder in layout.sidecars(dataset)])
        raise UserError(f"there is no sidecar {name} of {dataset}: {path} is missing{near}")
    table = pq.read_table(path)
    current = manifest_metadata(layout.manifest_named(dataset, stem))[SHARD_SHA256]
    if (table.schema.metadata or {}).get(SHARD_SHA256) != current:
        raise UserError(f"the sidecar {path} is stale, its shard was packed anew: compute it again")
    return table
