"""Ten and a hundred million samples: manifests, query, selection, first batch, what they take.

    python -m bench.large [--rows=100000000] [--folder=/tmp/tessera-bench]

Manifests are synthetic, 10,000 rows each, all columns in them; pictures are those of one tar a
dataset. `triplets` are a tenth of the rows, linked to a tenth of that as contents and styles each;
`plain` are all rows with nothing linked. Each figure comes from a process of its own, imports left
out; memory is RssAnon, the largest at any time. Selections of 100 million rows need 36 GB of disk
while they are compiled, and have 18 in the end.
"""

import contextlib
import io
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import fire

from bench.many_manifests import write_dataset
from bench.memory import largest
from bench.timing import in_process, machine, write_results

PER_SHARD, BATCH = 10_000, 64


def main(rows: int = 100_000_000, folder: str = "/tmp/tessera-bench", keep: bool = True) -> None:
    """Measures and keeps bench/results/large.json."""
    root = Path(folder) / "large"
    found: list[dict[str, Any]] = []
    for kind, count in (("triplets", rows // 10), ("plain", rows)):
        seconds, size = write(root / kind, kind, count)
        found.append({"name": f"{kind}: manifests", "rows": count, "write_s": seconds,
                      "gigabytes": size})  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
        for what in ("query", "compile", "start", "late", "cost"):
            row = in_process("bench.large", "one", str(root / kind), what, str(count))
            found.append({"name": f"{kind}: {what}", "rows": count, **row})
            print(json.dumps(found[-1]), flush=True)
    write_results("large" if keep else "", {**machine(), "rows_a_shard": PER_SHARD}, found)


def write(root: Path, kind: str, rows: int) -> tuple[float, float]:
    """Seconds that writing took, 0 where it was done before, and gigabytes of manifests."""
    from toolkit.store.layout import Layout

    layout, done, start = Layout(root / "s", root / "m"), root / "done", time.monotonic()
    if not done.exists() or done.read_text() != str(rows):
        shutil.rmtree(root, ignore_errors=True)
        links = {}
        if kind == "triplets":
            links = {"content": max(rows // 10, 1), "style": max(rows // 10, 1)}
            for role, count in links.items():
                write_dataset(layout, role, count, PER_SHARD)
        write_dataset(layout, "main", rows, PER_SHARD, links)
        done.write_text(str(rows))
    size = sum(path.stat().st_size for path in (root / "m").rglob("*.parquet"))
    return round(time.monotonic() - start, 1), round(size / 1e9, 2)


def one(root: str, what: str, rows: int) -> None:
    """One measurement: started by `main`, not by hand."""
    import duckdb  # noqa: F401 - imports are no part of it
    import torch  # noqa: F401

    from toolkit.plan import main as plan
    from toolkit.store.catalog import Catalog
    from toolkit.store.layout import Layout
    from toolkit.store.selection import select
    from toolkit.stream.loader import Loader

    layout, cache = Layout(Path(root) / "s", Path(root) / "m"), Path(root) / "cache"
    more: dict[str, Any] = {}
    if what in ("compile", "cost"):  # toolkit.plan compiles its own, of one split
        shutil.rmtree(cache, ignore_errors=True)
        shutil.rmtree(layout.manifests / ".selections", ignore_errors=True)
    start = time.perf_counter()
    with largest() as megabytes:
        if what == "query":
            catalog = Catalog(layout, ["main"])
            sql = "SELECT style, count(*), avg(width) FROM samples GROUP BY style ORDER BY style"
            more["groups"] = len(catalog.rows(sql))
        elif what == "cost":
            with contextlib.redirect_stdout(io.StringIO()):
                plan("weight > 0", mix="main:1", main="main", block=(1,),
                     shards=layout.shards, manifests=layout.manifests)  # fmt: skip
        else:
            found = select("main", "main", "weight > 0", layout, cache)
            if what == "compile":
                more["gigabytes"] = round(found.file.stat().st_size / 1e9, 2)
        if what in ("start", "late"):
            loader = Loader([found], {"main": 1}, BATCH, 32, seed=1)
            position = rows * 7 if what == "late" else 0
            loader.load_state_dict({**loader.state_dict(), "position": position})
            stream = iter(loader)
            next(stream)
            more["first_batch_s"] = round(time.perf_counter() - start, 2)
            began = time.perf_counter()
            for _ in range(200):
                next(stream)
            more["batches_per_s"] = round(200 / (time.perf_counter() - began), 1)
    seconds = round(time.perf_counter() - start, 2)
    print(json.dumps({"seconds": seconds, "megabytes": megabytes[0], **more}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        fire.Fire(main)
