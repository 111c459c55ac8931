"""Pages of a gallery over a million rows, beside asking the manifests for each of them.

    python -m bench.gallery [--rows=1000000] [--rounds=5]

The viewer is the real command, asked over HTTP as its page does. The peer is DuckDB with as much
memory on the same Parquet files, asked for the columns of the same page with ORDER BY, LIMIT and
OFFSET, as a straightforward viewer would; it has no pictures to find. Views are sorted by a column
of different texts, by one of many equal ones, and filtered. `first`: a view that was not asked for
before; `next`: the page behind it; `last`: its last page.
"""

import itertools
import json
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fire

from bench.many_manifests import write_dataset
from bench.timing import machine, pairs, summary, write_results

PAGE = 60
# View: what the viewer is asked for, the same as SQL. The number makes each one a new view.
VIEWS = {
    "sorted by key": ({"order": "key"}, "true", "key, dataset"),
    "sorted by artist": ({"order": "artist"}, "true", "artist, key"),
    "filtered": ({"filters": '[["style","is","style 5"]]'}, "style = 'style 5'", "key"),
}


def main(
    rows: int = 1_000_000, rounds: int = 5, folder: str = "/tmp/tessera-bench", keep: bool = True
) -> None:
    """Measures and keeps bench/results/gallery.json."""
    from toolkit.store.layout import Layout

    root = Path(folder) / "gallery"
    shutil.rmtree(root, ignore_errors=True)
    layout = Layout(root / "s", root / "m")
    write_dataset(layout, "style", rows // 50, 10_000)
    write_dataset(layout, "main", rows, 10_000, {"style": rows // 50})
    found: list[dict[str, Any]] = []
    start = time.perf_counter()
    with viewer(layout) as (address, memory):
        found.append({"name": "start", "seconds": round(time.perf_counter() - start, 1)})
        for name, (asked, where, order) in VIEWS.items():
            found += measured(address, layout, name, asked, where, order, rounds)
        found.append({"name": "memory (RssAnon, MB)", "viewer": memory()})
    write_results("gallery" if keep else "", {**machine(), "rows": rows}, found)


def measured(
    address: str, layout: Any, name: str, asked: dict[str, str], where: str, order: str, rounds: int
) -> list[dict[str, Any]]:
    """The rows of one view: its first page, the next one, the last one."""
    numbers = itertools.count()
    total = cards(address, {**asked, "page": "0"})["total"]
    last = (total - 1) // PAGE
    found = []
    for what, page in (("first", 0), ("next", 1), ("last", last)):

        def ours(what: str = what, page: int = page) -> float:
            fresh = {"where": f"{next(numbers)} < 1000000"} if what == "first" else {}
            start = time.perf_counter()
            answer = cards(address, {**asked, **fresh, "page": str(page)})
            took = time.perf_counter() - start
            if not answer["cards"] or answer["total"] != total:
                raise RuntimeError(f"{name}, {what}: {answer['total']} of {total}")
            return took

        found.append(summary(f"{name}: {what} page", pairs(ours, plain(layout, where, order, page),
                                                           rounds), 1))  # fmt: skip
    return found


def plain(layout: Any, where: str, order: str, page: int) -> Callable[[], float]:
    """The same page from the Parquet files."""
    import duckdb

    files = str(layout.manifests.resolve() / "main" / "*.parquet")
    con = duckdb.connect()
    con.execute("SET memory_limit='512MB'")

    def ask() -> float:
        start = time.perf_counter()
        count = con.execute(f"SELECT count(*) FROM '{files}' WHERE {where}").fetchall()
        rows = con.execute(
            f"SELECT * FROM '{files}' WHERE {where} ORDER BY {order} LIMIT {PAGE} "
            f"OFFSET {page * PAGE}"
        ).fetchall()
        took = time.perf_counter() - start
        if not rows or not count:
            raise RuntimeError("no rows")
        return took

    return ask


def cards(address: str, fields: dict[str, str]) -> Any:
    """What the viewer answers."""
    with urllib.request.urlopen(f"{address}cards?{urllib.parse.urlencode(fields)}") as answer:
        return json.load(answer)


@contextmanager
def viewer(layout: Any) -> Iterator[tuple[str, Callable[[], float]]]:
    """The real command over the layout: its address, and its memory in megabytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.inspect", "gallery", "dataset='main'", "--serve",
         "--port=0", f"--shards={layout.shards}", f"--manifests={layout.manifests}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout

    def memory() -> float:
        status = Path(f"/proc/{process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
        return round(int(line.split()[1]) / 1000, 0)

    try:
        yield process.stdout.readline().split(" at ")[1].split()[0], memory
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    fire.Fire(main)
