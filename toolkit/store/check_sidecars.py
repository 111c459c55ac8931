"""Compares sidecars with the shards that they were made from, and their tensors with their rows."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of
from toolkit.store.check import Problem
from toolkit.store.layout import Layout
from toolkit.store.manifest import SHARD_SHA256, manifest_metadata
from toolkit.store.recipe import read_recipe, recipe_path
from toolkit.store.tensors import RECIPE, TENSORS_SHA256, tensors_path


def check_sidecars(layout: Layout, dataset: str) -> list[Problem]:
    """What is wrong with the sidecars of a dataset; shards that one says nothing of are not."""
    return [
        Problem(f"{dataset}/sidecars/{folder.name}/{path.stem}", what)
        for folder in layout.sidecars(dataset)
        for path in sorted(folder.glob(f"{dataset}-??????.parquet"))
        for what in _problems(layout, dataset, folder.name, path)
    ]


def _problems(layout: Layout, dataset: str, name: str, path: Path) -> Iterator[str]:
    try:
        metadata = pq.read_schema(path).metadata or {}
        pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException):
        yield "its rows are damaged: delete them and make them again"
        return
    manifest = layout.manifest_named(dataset, path.stem)
    if not manifest.is_file():
        yield "its shard is gone: delete it"
        return
    try:
        if metadata.get(SHARD_SHA256) != manifest_metadata(manifest)[SHARD_SHA256]:
            yield "it is stale, its shard was packed anew: make it again"
            return
    except UserError:
        return  # told of the shard
    if TENSORS_SHA256 not in metadata:
        return
    try:
        if metadata.get(RECIPE) != read_recipe(layout, dataset, name).sha256.encode():
            yield "it was made in another way than its sidecar.json says: encode again"
    except UserError:
        yield f"it has no {recipe_path(layout, dataset, name).name}: encode anew"
    tar = tensors_path(layout, dataset, path.stem, name)
    if not tar.is_file():
        yield f"its tensors {tar} are missing: delete {path} and encode again"
    elif sha256_of(tar).encode() != metadata[TENSORS_SHA256]:
        yield f"its tensors {tar} are damaged: delete {path} and encode again"
