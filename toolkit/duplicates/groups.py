"""Which pictures are copies of each other, and which of them stay.

Copies of copies are copies: groups are the connected parts of the graph whose edges are pictures
with the same bytes, with hashes near each other, or with the same value of somebody's expression.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_RANKS = ("test", "val")  # splits that nothing takes from, the first before the second


@dataclass(frozen=True)
class Near:
    """Distinct hashes that are near each other: int64 [E] of `columns` of the pictures, one of the
    left and one of the right each."""

    columns: tuple[str, str]
    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Groups:
    """For each picture: the number of its group, −1 where it has no copy; whether it stays; the
    bits by which its hash differs from that of the group's first picture, −1 where that is not
    known. first: the row that speaks for each group."""

    number: np.ndarray
    keep: np.ndarray
    distance: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def numbers_of(pictures: pa.Table, near: Iterable[Near], same: Sequence[str]) -> np.ndarray:
    """Which connected part each picture is in: int64 [N], −1 for those that are alone.

    Args:
        pictures: rows with the columns that `near` and `same` name.
        near: pairs of hashes.
        same: columns in which equal values that are not null make copies.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = pictures.num_rows
    hashed = dict.fromkeys(column for pairs in near for column in pairs.columns)
    nodes, edges, total = {}, [], count  # a node for each value, behind those of the pictures
    for column in dict.fromkeys((*same, *hashed)):
        coded = _coded(pictures[column])
        rows = np.flatnonzero(coded.indices.is_valid())
        edges.append((rows, total + coded.indices.drop_null().to_numpy()))
        nodes[column] = (coded.dictionary, total)
        total += len(coded.dictionary)
    for pairs in near:
        ends = [
            start + pc.index_in(pa.array(values), value_set=known).to_numpy()
            for values, (known, start) in (
                (pairs.left, nodes[pairs.columns[0]]), (pairs.right, nodes[pairs.columns[1]]),
            )
        ]  # fmt: skip
        edges.append((ends[0], ends[1]))
    a, b = (np.concatenate([np.zeros(0, np.int64), *ends]) for ends in zip(*edges, strict=True))
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(total, total))
    labels = connected_components(graph, directed=False)[1][:count]
    sizes = np.bincount(labels, minlength=1)
    return np.where(sizes[labels] > 1, labels, -1).astype(np.int64)


def settle(pictures: pa.Table, parts: np.ndarray, flipped: bool) -> Groups:
    """Groups in the order of their first pictures, and what stays of each.

    A picture of the test split always stays, one of val unless its group reaches into test. Of
    train none stays beside one of those, and otherwise the one with the most pixels; dataset and
    key decide between equals.

    Args:
        pictures: columns `dataset, key, split, phash, pixels`, and `phash_flipped` if flipped.
        parts: of `numbers_of`.
    """
    inside = np.flatnonzero(parts >= 0)
    splits = pictures["split"].take(pa.array(inside)).to_pylist()
    ranks = np.array([_RANKS.index(s) if s in _RANKS else len(_RANKS) for s in splits], np.int64)
    order = _order(pictures, inside, ranks, parts)
    rows, ranks = inside[order], ranks[order]
    starts = np.flatnonzero(np.diff(parts[rows], prepend=-1))
    own = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
    by_first = np.argsort(np.argsort(rows[starts]))  # groups by where their first picture lies
    number = np.full(pictures.num_rows, -1)
    number[rows] = by_first[own]
    is_first = np.zeros(len(rows), bool)
    is_first[starts] = True
    keep = np.ones(pictures.num_rows, bool)
    keep[rows] = ~((ranks > ranks[starts][own]) | ((ranks == len(_RANKS)) & ~is_first))
    distance = np.full(pictures.num_rows, -1)
    distance[rows] = _distances(pictures, rows, rows[starts][own], flipped)
    return Groups(number, keep, distance, np.sort(rows[starts]))


def _order(
    pictures: pa.Table, rows: np.ndarray, ranks: np.ndarray, parts: np.ndarray
) -> np.ndarray:
    """Sorts by group, then the one that speaks for it first."""
    chosen = pictures.select(["pixels", "dataset", "key"]).take(pa.array(rows))
    table = chosen.append_column("part", pa.array(parts[rows])).append_column(
        "rank", pa.array(ranks)
    )
    keys = [("part", "ascending"), ("rank", "ascending"), ("pixels", "descending"),
            ("dataset", "ascending"), ("key", "ascending")]  # fmt: skip
    found: np.ndarray = pc.sort_indices(table, sort_keys=keys).to_numpy()
    return found


def _distances(
    pictures: pa.Table, rows: np.ndarray, firsts: np.ndarray, flipped: bool
) -> np.ndarray:
    """Bits between the hashes of rows and of others, the nearer of both ways round; −1 where one
    has none."""
    hashes = pictures["phash"]
    found = _bits(hashes, rows, hashes, firsts)
    if flipped:
        other = _bits(pictures["phash_flipped"], rows, hashes, firsts)
        found = np.where((other >= 0) & (rows != firsts), np.minimum(found, other), found)
    return found


def _bits(left: Any, rows: np.ndarray, right: Any, others: np.ndarray) -> np.ndarray:
    a, b = left.take(pa.array(rows)), right.take(pa.array(others))
    differ = a.fill_null(0).to_numpy() ^ b.fill_null(0).to_numpy()
    known = a.is_valid().to_numpy() & b.is_valid().to_numpy()
    counts = np.unpackbits(differ.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
    return np.where(known, counts.astype(np.int64), -1)


def _coded(column: Any) -> pa.DictionaryArray:
    coded = pc.dictionary_encode(column)
    return coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
