"""Copies among 100,000 pictures by their hashes: banded in SQL, beside comparing each with each.

    python -m bench.dedup [--rows=100000] [--rounds=3]

Hashes are random, a twentieth of the rows are copies, one to three bits from another row. The peer
is numpy: the bits of the exclusive or of each pair, a block of rows at a time, as one would write
it. Both end with the pairs of hashes; ours are those that `toolkit.dedup` asks for, read from the
manifests. The whole search, rows and groups included, is timed besides.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import fire
import numpy as np

from bench.timing import machine, pairs, summary, write_results

PER_SHARD, BLOCK = 10_000, 256


def main(
    rows: int = 100_000, rounds: int = 3, folder: str = "/tmp/tessera-bench", keep: bool = True
) -> None:
    """Measures and keeps bench/results/dedup.json."""
    from toolkit.duplicates.search import Wanted, search
    from toolkit.store.catalog import Catalog
    from toolkit.store.near import near_pairs

    layout, hashes = written(Path(folder) / "dedup", rows)
    table = "SELECT phash FROM samples"
    found: list[dict[str, Any]] = []
    for bits in (3, 4, 7):
        counts: dict[str, int] = {}

        def ours(bits: int = bits, counts: dict[str, int] = counts) -> float:
            start = time.perf_counter()
            catalog = Catalog(layout)
            counts["ours"] = len(catalog.rows(near_pairs(table, table, bits)))
            return time.perf_counter() - start

        def theirs(bits: int = bits, counts: dict[str, int] = counts) -> float:
            start = time.perf_counter()
            counts["theirs"] = each_with_each(hashes, bits)
            return time.perf_counter() - start

        timed = pairs(ours, theirs, rounds)
        if counts["ours"] != counts["theirs"]:
            raise RuntimeError(f"{counts} pairs within {bits} bits")
        start = time.perf_counter()
        groups = len(search(Catalog(layout), Wanted("true", bits, flat=0)).groups)
        whole = round(time.perf_counter() - start, 2)
        row = summary(f"within {bits} bits, over numpy", timed, rows)
        found.append({**row, "near": counts["ours"], "search_s": whole, "groups": groups})
    write_results("dedup" if keep else "", {**machine(), "rows": rows}, found)


def each_with_each(hashes: np.ndarray, bits: int) -> int:
    """The number of pairs within so many bits."""
    count = 0
    for start in range(0, len(hashes), BLOCK):
        block = hashes[start : start + BLOCK, None]
        near = np.bitwise_count(block ^ hashes[None, start:]) <= bits
        count += int(np.triu(near, 1).sum())
    return count


def written(root: Path, rows: int) -> tuple[Any, np.ndarray]:
    """The layout, and the distinct hashes in it: uint64."""
    from toolkit.store.layout import Layout
    from toolkit.store.manifest import write_manifest

    shutil.rmtree(root, ignore_errors=True)
    layout = Layout(root / "s", root / "m")
    layout.shards.mkdir(parents=True)
    rng = np.random.Generator(np.random.Philox(3))
    hashes = rng.integers(0, 1 << 63, rows, dtype=np.uint64) * 2
    copied = rng.choice(rows, rows // 20, replace=False)
    for place in copied:
        flips = rng.choice(64, rng.integers(1, 4), replace=False).astype(np.uint64)
        hashes[place] = hashes[(place + 1) % rows] ^ np.bitwise_or.reduce(np.uint64(1) << flips)
    signed = hashes.view(np.int64).tolist()
    for start in range(0, rows, PER_SHARD):
        path = layout.manifest("pictures", start // PER_SHARD)
        path.parent.mkdir(parents=True, exist_ok=True)
        own = [
            {"key": f"{n:09d}", "dataset": "pictures", "shard": path.stem, "status": "ok",
             "split": "train", "width": 64, "height": 64, "sha256": f"{n:064x}", "weight": 1.0,
             "phash": signed[n]}
            for n in range(start, min(start + PER_SHARD, rows))
        ]  # fmt: skip
        write_manifest(path, own, "f", "00")
    return layout, np.unique(hashes)


if __name__ == "__main__":
    fire.Fire(main)
