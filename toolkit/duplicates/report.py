"""What was found, as rows: per dataset and split, leaks between splits, and every member of a
group."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.duplicates.search import Found

MEMBERS = ("dup_group", "dataset", "key", "split", "keep", "distance")


def by_split(found: Found) -> list[tuple[Any, ...]]:
    """Dataset, split, pictures, copies among them, those that give way, and flat ones."""
    pictures, groups = found.pictures, found.groups
    where = list(zip(pictures["dataset"].to_pylist(), pictures["split"].to_pylist(), strict=True))
    counts: dict[tuple[str, str], list[int]] = {}
    columns = (groups.number >= 0, ~groups.keep, found.is_flat)
    for place, *marks in zip(where, *(c.tolist() for c in columns), strict=True):
        count = counts.setdefault(place, [0, 0, 0, 0])
        count[0] += 1
        for number, mark in enumerate(marks, 1):
            count[number] += mark
    return [(*place, *count) for place, count in sorted(counts.items())]


def leaks(groups: Sequence[Sequence[dict[str, Any]]]) -> list[tuple[Any, ...]]:
    """Groups that reach over splits: for each two places, DATASET/SPLIT, of which not both are
    train, the number of groups and one of them."""
    counts: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for members in groups:
        splits = {(row["dataset"], row["split"]) for row in members}
        for a, b in combinations(sorted(splits), 2):
            if a[1] != b[1]:
                places = "/".join(a), "/".join(b)
                counts[places] += 1
                example.setdefault(places, members[0]["dup_group"])
    return [(*places, count, example[places]) for places, count in counts.most_common()]


def names_of(found: Found) -> list[str]:
    """DATASET/KEY of the picture that speaks for each group."""
    first = found.pictures.select(["dataset", "key"]).take(pa.array(found.groups.first))
    return [f"{row['dataset']}/{row['key']}" for row in first.to_pylist()]


def by_group(found: Found) -> list[list[dict[str, Any]]]:
    """Rows with `MEMBERS`, all pictures that have copies: the one that speaks for a group first."""
    groups, names = found.groups, names_of(found)
    rows = np.flatnonzero(groups.number >= 0)
    chosen = found.pictures.select(["dataset", "key", "split"]).take(pa.array(rows)).to_pylist()
    gathered: list[list[dict[str, Any]]] = [[] for _ in names]
    for row, place in zip(chosen, rows.tolist(), strict=True):
        number, distance = int(groups.number[place]), int(groups.distance[place])
        gathered[number].append({
            "dup_group": names[number], **row, "keep": bool(groups.keep[place]),
            "distance": distance if distance >= 0 else None,
        })  # fmt: skip
    for of_group in gathered:
        of_group.sort(key=lambda r: (r["dup_group"] != f"{r['dataset']}/{r['key']}",
                                     r["dataset"], r["key"]))  # fmt: skip
    return gathered
