"""Near hashes in SQL against comparing each with each, and groups against a walk over the graph."""

from itertools import combinations
from random import Random

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from toolkit.duplicates.groups import Near, numbers_of, settle
from toolkit.store.near import near_pairs


def hashes(seed: int, count: int, near: int) -> list[int]:
    """Signed numbers of 64 bits, some of them a few bits from others, some twice, some the odd
    ones."""
    rng = Random(seed)
    found = [rng.getrandbits(64) for _ in range(count)]
    for value in found[: count // 2]:
        bits = rng.sample(range(64), rng.randrange(min(near + 3, 65)))
        found.append(value ^ sum(1 << bit for bit in bits))
    found += [found[0], 0, 1 << 63, (1 << 64) - 1]
    return [value - (1 << 64) if value >> 63 else value for value in found]


def apart(a: int, b: int) -> int:
    return ((a ^ b) & ((1 << 64) - 1)).bit_count()


@pytest.mark.parametrize("bits", [0, 1, 3, 4, 7, 8, 9, 20, 64])
def test_all_pairs_within_a_distance_are_found_and_no_others(bits: int) -> None:
    one, other = hashes(bits, 120, bits), hashes(bits + 100, 40, bits) + hashes(bits, 30, bits)
    con = duckdb.connect()
    con.execute("CREATE TABLE a AS SELECT unnest($1::BIGINT[]) AS phash", [[*one, None]])
    con.execute("CREATE TABLE b AS SELECT unnest($1::BIGINT[]) AS phash", [[*other, None]])
    a, b = "SELECT phash FROM a", "SELECT phash FROM b"
    among = con.execute(near_pairs(a, a, bits)).fetchall()
    expected = {(min(p), max(p)) for p in combinations(set(one), 2) if apart(*p) <= bits}
    assert len(among) == len(expected)
    assert set(among) == expected
    across = con.execute(near_pairs(a, b, bits)).fetchall()
    wanted = {(x, y) for x in set(one) for y in set(other) if apart(x, y) <= bits}
    assert len(across) == len(wanted)
    assert set(across) == wanted


def graph(seed: int) -> tuple[pa.Table, list[Near], list[set[int]]]:
    """Pictures with pairs of hashes, and their groups by a walk from each."""
    rng = Random(seed)
    count = 60
    phash = [rng.choice([None, *range(40)]) for _ in range(count)]
    mirrored = [rng.choice([None, *range(100, 140)]) for _ in range(count)]
    sha = [rng.choice([None, *"abcdefghijklmnopqrstuvwxyz"]) for _ in range(count)]
    pairs = [(rng.randrange(40), rng.randrange(40)) for _ in range(6)]
    flips = [(rng.randrange(40), rng.randrange(100, 140)) for _ in range(3)]
    rows = pa.table({
        "dataset": [rng.choice("de") for _ in range(count)], "key": [f"k{n}" for n in range(count)],
        "split": [rng.choice(["train", "train", "val", "test"]) for _ in range(count)],
        "phash": pa.array(phash, pa.int64()), "phash_flipped": pa.array(mirrored, pa.int64()),
        "sha256": pa.array(sha, pa.string()), "pixels": [rng.randrange(4) for _ in range(count)],
    })  # fmt: skip
    there = [p for p in pairs if set(p) <= set(phash)]
    flipped = [(a, b) for a, b in flips if a in phash and b in mirrored]
    near = [
        Near(("phash", "phash"), *(np.array(side, np.int64) for side in zip(*there, strict=True))),
        Near(("phash", "phash_flipped"),
             *(np.array([p[n] for p in flipped], np.int64) for n in (0, 1))),
    ]  # fmt: skip
    joined = {i: {i} for i in range(count)}
    for a, b in combinations(range(count), 2):
        touch = (
            (sha[a] is not None and sha[a] == sha[b])
            or (phash[a] is not None and phash[a] == phash[b])
            or (mirrored[a] is not None and mirrored[a] == mirrored[b])
            or {(phash[a], phash[b]), (phash[b], phash[a])} & set(there)
            or {(phash[a], mirrored[b]), (phash[b], mirrored[a])} & set(flipped)
        )
        if touch and joined[a] is not joined[b]:
            whole = joined[a] | joined[b]
            for row in whole:
                joined[row] = whole
    groups = {id(group): group for group in joined.values() if len(group) > 1}
    return rows, near, list(groups.values())


@pytest.mark.parametrize("seed", range(8))
def test_groups_are_the_connected_parts(seed: int) -> None:
    rows, near, expected = graph(seed)
    parts = numbers_of(rows, near, ["sha256"])
    found: dict[int, set[int]] = {}
    for row, part in enumerate(parts.tolist()):
        found.setdefault(part, set()).add(row)
    found.pop(-1, None)
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, expected))


@pytest.mark.parametrize("seed", range(8))
def test_train_gives_way_and_test_never(seed: int) -> None:
    rows, near, expected = graph(seed)
    groups = settle(rows, numbers_of(rows, near, ["sha256"]), flipped=True)
    facts = rows.to_pylist()
    assert len(groups) == len(expected)
    in_groups = {row for group in expected for row in group}
    assert {row for row in range(len(facts)) if groups.number[row] >= 0} == in_groups
    for group in expected:
        (number,) = {int(groups.number[row]) for row in group}
        first = int(groups.first[number])
        splits = {facts[row]["split"] for row in group}
        best = next(s for s in ("test", "val", "train") if s in splits)
        assert facts[first]["split"] == best
        most = max(facts[row]["pixels"] for row in group if facts[row]["split"] == best)
        assert facts[first]["pixels"] == most
        for row in group:
            split = facts[row]["split"]
            stays = split == "test" or (split == "val" and best == "val") or row == first
            assert groups.keep[row] == stays
            own, other = facts[row]["phash"], facts[first]["phash"]
            ways = [apart(own, other)] if None not in (own, other) else []
            mirrored = facts[row]["phash_flipped"]
            if ways and None not in (mirrored, other) and row != first:
                ways.append(apart(mirrored, other))
            if ways:
                assert groups.distance[row] == min(ways)
    assert groups.keep[[row for row in range(len(facts)) if row not in in_groups]].all()
