"""Queries over a manifest of ten million rows in a thousand files.

    python -m bench.manifest [--rows=10000000] [--files=1000]

The rows are written by the product's own writer: one caption of nine words out of five thousand,
style, sizes, perceptual hash and the sample's sha256; members without hashes. Timed are whole
commands and, apart from start-up, the query alone.
"""

import hashlib
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import fire
import numpy as np

from bench.timing import machine, wall_s, write_results
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.manifest import write_manifest

STYLES = ("Impressionism", "Realism", "Cubism", "Ukiyo_e", "Baroque", "Rococo", "Pointillism")


def main(
    rows: int = 10_000_000, files: int = 1000, rounds: int = 5, folder: str = "/tmp/tessera-bench"
) -> None:
    """Measures and keeps bench/results/manifest.json."""
    layout = Layout(Path(folder) / "ten" / "s", Path(folder) / "ten" / "m")
    size = _write(layout, rows, files)
    found: list[dict[str, Any]] = [
        {"name": "bytes a row", "value": round(size / rows, 1)},
        {"name": "bytes a row, hashes left out", "value": round(_without_hashes(layout), 1)},
    ]
    flags = [f"--shards={layout.shards}", f"--manifests={layout.manifests}"]
    queries = {
        "count where style": ("SELECT count(*) FROM samples WHERE style = 'Cubism'",
                              ["style = 'Cubism'", "--count"]),
        "group by style": ("SELECT style, count(*) FROM samples GROUP BY style",
                           ["--group_by=style", "--columns=count(*) as n"]),
    }  # fmt: skip
    for name, (sql, args) in queries.items():
        alone, whole = [], []
        for _ in range(rounds):
            catalog = Catalog(layout)
            start = time.perf_counter()
            catalog.rows(sql)
            alone.append(time.perf_counter() - start)
            whole.append(wall_s([sys.executable, "-m", "toolkit.query", *args, *flags]))
        found.append({
            "name": name, "query_s": round(statistics.median(alone), 3),
            "command_s": round(statistics.median(whole), 3),
        })  # fmt: skip
    write_results("manifest", {**machine(), "rows": rows, "files": files}, found)


def _write(layout: Layout, rows: int, files: int) -> int:
    """Writes the manifests, if they are not there; returns their size in bytes."""
    folder = layout.manifests / "big"
    per_file = rows // files
    if len(layout.manifests_of("big")) != files:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for index in range(files):
            path = layout.manifest("big", index)
            write_manifest(path, _rows(index, per_file, path.stem), f"{index}", "0" * 64)
        layout.card("big").write_text(json.dumps({"root_sha256": "", "parents": []}))
    return sum(path.stat().st_size for path in layout.manifests_of("big"))


def _without_hashes(layout: Layout) -> float:
    rows = [{**row, "sha256": None} for row in _rows(0, 10_000, "big-000000")]
    path = layout.manifests / "without-hashes.parquet"
    write_manifest(path, rows, "0", "0" * 64)
    return path.stat().st_size / len(rows)


def _rows(index: int, count: int, stem: str) -> list[dict[str, Any]]:
    rng = np.random.Generator(np.random.Philox(index))
    styles = rng.integers(0, len(STYLES), count)
    words = rng.integers(0, 5000, (count, 9))
    hashes = rng.integers(-(2**62), 2**62, count)
    offset, rows = 512, []
    for number in range(count):
        key = f"{index * count + number:012d}"
        size = int(rng.integers(30_000, 90_000))
        text = " ".join(f"word{w}" for w in words[number])
        rows.append({
            "key": key, "dataset": "big", "shard": stem, "status": "ok", "width": 640,
            "height": 480, "format": "jpeg", "style": STYLES[styles[number]], "split": "train",
            "caption": text, "captions": [text], "source_id": f"train2017/{key}.jpg",
            "phash": int(hashes[number]), "weight": 1.0,
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "members": [{"ext": "jpg", "offset": offset, "size": size, "sha256": None}],
        })  # fmt: skip
        offset += size + 1024
    return rows


if __name__ == "__main__":
    fire.Fire(main)
