"""Looks for copies among the pictures of a catalogue."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.duplicates.groups import Groups, Near, numbers_of, settle
from toolkit.duplicates.looks import flat_rows, hash_flipped
from toolkit.store.catalog import Catalog
from toolkit.store.images import PICTURES_SQL
from toolkit.store.near import near_pairs


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        where: a checked condition on the rows that take part.
        distance: bits by which hashes of copies differ at most, 0..64.
        flipped: whether mirrored copies count.
        same: a checked expression whose equal values make copies besides; "" for none.
        flat: pictures whose grey levels deviate by less than this part of their range are no
            evidence; 0 to look at none.
        jobs: processes that hash mirrored pictures.
    """

    where: str
    distance: int
    flipped: bool = False
    same: str = ""
    flat: float = 0.02
    jobs: int = 1


@dataclass(frozen=True)
class Found:
    """pictures: a row each, by dataset, shard and key. groups: of them. is_flat: rows left out;
    num_hashed: pictures without a hash are not among them."""

    pictures: pa.Table
    groups: Groups
    is_flat: np.ndarray
    num_hashed: int


def search(catalog: Catalog, wanted: Wanted) -> Found:
    """Finds the copies. Raises UserError."""
    if wanted.flipped:
        hash_flipped(catalog.layout, catalog.datasets, wanted.jobs)
        catalog.expression("phash_flipped", "flipped")
    chosen = f"FROM samples WHERE status = 'ok' AND ({wanted.where}\n)"
    pictures = _pictures(catalog, wanted, chosen)
    near = [_near(catalog, wanted, chosen, "phash")]
    if wanted.flipped:
        near.append(_near(catalog, wanted, chosen, "phash_flipped"))
    same = ["sha256", *(["same"] if wanted.same else [])]
    parts = numbers_of(pictures, near, same)
    is_flat = np.zeros(pictures.num_rows, bool)
    inside = np.flatnonzero(parts >= 0)
    if wanted.flat and len(inside):
        is_flat[inside] = flat_rows(catalog.layout, pictures, inside, wanted.flat)
        if is_flat.any():
            without = _without(pictures, is_flat)
            parts = numbers_of(without, _still(near, without), same)
    groups = settle(pictures, parts, wanted.flipped)
    hashed = pictures.num_rows - pictures["phash"].null_count
    return Found(pictures, groups, is_flat, hashed)


def _pictures(catalog: Catalog, wanted: Wanted, chosen: str) -> pa.Table:
    more = f", phash_flipped FROM (SELECT * {chosen})" if wanted.flipped else f" {chosen}"
    same = f", ({wanted.same}\n)::VARCHAR AS same" if wanted.same else ""
    return catalog.table(
        "SELECT dataset, shard, key, coalesce(split, 'train') AS split, phash, sha256, "
        f"width::BIGINT * height AS pixels, {PICTURES_SQL}[1] AS picture{same}{more} "
        "ORDER BY dataset, shard, key"
    )


def _near(catalog: Catalog, wanted: Wanted, chosen: str, column: str) -> Near:
    left, right = f"SELECT phash {chosen}", f"SELECT {column} AS phash {chosen}"
    pairs = catalog.table(near_pairs(left, right, wanted.distance))
    return Near(("phash", column), pairs["l"].to_numpy(), pairs["r"].to_numpy())


def _without(pictures: pa.Table, is_flat: np.ndarray) -> pa.Table:
    """The same rows, of which the flat ones say nothing."""
    mask = pa.array(is_flat)
    for name in ("phash", "phash_flipped", "sha256", "same"):
        if name in pictures.column_names:
            place = pictures.column_names.index(name)
            values = pictures[name].combine_chunks()
            nothing = pa.nulls(len(values), values.type)
            pictures = pictures.set_column(place, name, pc.if_else(mask, nothing, values))
    return pictures


def _still(near: list[Near], pictures: pa.Table) -> list[Near]:
    """Of the pairs those whose hashes some row still has."""
    found = []
    for pairs in near:
        there = np.ones(len(pairs.left), bool)
        for column, values in zip(pairs.columns, (pairs.left, pairs.right), strict=True):
            there &= np.isin(values, pictures[column].drop_null().to_numpy())
        found.append(Near(pairs.columns, pairs.left[there], pairs.right[there]))
    return found
