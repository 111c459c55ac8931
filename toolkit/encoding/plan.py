"""Which samples of which shards a query wants encoded, and which of them are there already."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.recipe import Recipe, read_recipe, recipe_path
from toolkit.store.tensors import TENSORS_SHA256, read_rows, tensors_path


@dataclass(frozen=True)
class ShardTask:
    """One shard to encode. rows: of its manifest, all of them; wanted: keys of those to encode."""

    dataset: str
    stem: str
    rows: tuple[dict[str, Any], ...]
    wanted: frozenset[str]


def shards_of(catalog: Catalog, condition: str) -> list[tuple[str, str, int]]:
    """(dataset, stem, samples) of each shard in which a checked condition holds somewhere.

    Raises UserError where it holds nowhere.
    """
    found = catalog.rows(
        f"SELECT dataset, shard, count(*) FROM samples WHERE status = 'ok' AND ({condition}\n) "
        "GROUP BY ALL ORDER BY ALL"
    )
    if not found:
        hints = catalog.misspelt(condition)
        raise UserError("; ".join(["no sample fits: there is nothing to do", *hints]))
    return [(dataset, stem, count) for dataset, stem, count in found]


def tasks(
    catalog: Catalog, condition: str, shards: list[tuple[str, str, int]], name: str, recipe: str
) -> Iterator[ShardTask | int]:
    """The shards that are still to be encoded; for one that is there, how many samples it holds.

    Samples that an earlier query asked for are asked for again where a shard is encoded anew, so
    that a second query adds to the first.
    """
    for dataset, stem, count in shards:
        wanted = wanted_keys(catalog, condition, dataset, stem)
        there = _there(catalog.layout, dataset, stem, name, recipe)
        if wanted <= there:
            yield count
            continue
        columns = ["key", "status", "caption", "style", "members"]
        rows = read_manifest(catalog.layout.manifest_named(dataset, stem), columns)
        yield ShardTask(dataset, stem, tuple(rows), frozenset(wanted | there))


def wanted_keys(catalog: Catalog, condition: str, dataset: str, stem: str) -> set[str]:
    """Keys of the samples of a shard for which a checked condition holds."""
    file = catalog.file_of(dataset, stem)
    sql = f"SELECT key FROM {file} AS samples WHERE status = 'ok' AND ({condition}\n)"
    return {key for (key,) in catalog.rows(sql)}


def refuse_other(layout: Layout, datasets: Iterable[str], name: str, recipe: Recipe) -> None:
    """Raises UserError where a dataset has a sidecar of that name made in another way."""
    for dataset in sorted(set(datasets)):
        _refuse_other(layout, dataset, name, recipe)


def _refuse_other(layout: Layout, dataset: str, name: str, recipe: Recipe) -> None:
    path = recipe_path(layout, dataset, name)
    if not any(path.parent.glob("*-??????.parquet")):  # begun, but nothing came of it
        return
    try:
        differ = read_recipe(layout, dataset, name).differences(recipe)
    except UserError:  # it is written anew, and rows that were made in another way are stale
        return
    if differ:
        raise UserError(
            f"{dataset} has a sidecar {name} that was made in another way ({', '.join(differ)}"
            " differ): choose another --sidecar=NAME, or --overwrite"
        )


def _there(layout: Layout, dataset: str, stem: str, name: str, recipe: str) -> set[str]:
    """Keys of the samples that a shard's sidecar answers for; none if it has to be made anew."""
    try:
        table = read_rows(layout, dataset, stem, name, recipe)
        tar = tensors_path(layout, dataset, stem, name)
        if sha256_of(tar).encode() != table.schema.metadata[TENSORS_SHA256]:
            return set()
    except (UserError, OSError):
        return set()
    return set(table.filter(pc.is_valid(table["pictures"]))["key"].to_pylist())
