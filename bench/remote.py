"""Streaming from an object store: requests and bytes of a 10% subset against what was planned.

    python -m bench.remote [--count=2000] [--folder=/tmp/tessera-bench]

512-pixel JPEGs in ten shards behind a real S3 API server on this machine, with a proxy that counts.
The subset is drawn by a hash of the key, blocks hold one sample, nothing is cached.
"""

import os
import shutil
from pathlib import Path

import fire

from bench.pictures import write_jpegs
from bench.s3 import s3_server
from bench.timing import machine, write_results

WHERE, BATCH, SIZE = "hash(key) % 10 = 0", 8, 256


def main(count: int = 2000, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/remote.json."""
    from toolkit.core.places import folder as place
    from toolkit.packing.dataset import pack
    from toolkit.sources.folder import open_source
    from toolkit.store.layout import Layout
    from toolkit.store.mirror import open_layout
    from toolkit.store.selection import select
    from toolkit.stream.cost import cost_of
    from toolkit.stream.loader import Loader

    root = Path(folder) / "remote"
    shutil.rmtree(root, ignore_errors=True)
    pictures = write_jpegs(Path(folder) / f"remote-{count}", count)
    pack(open_source(pictures), "main", Layout(root / "s", root / "m"), max(1, count // 10))
    with s3_server(root) as proxy:
        own = {"TESSERA_CACHE": str(root / "cache"), "TESSERA_CACHE_GB": "0"}
        os.environ.update({**proxy.environment, **own})
        layout = open_layout(place("s3://data/s"), place("s3://data/m"))
        selection = select("main", "main", WHERE, layout)
        cost = cost_of([selection], {"main": 1}, BATCH, 0, 1)
        loader = Loader([selection], {"main": 1}, BATCH, SIZE, 0, epochs=1)
        proxy.reset()
        batches = len(list(loader))
        loader.close()
        used = _bytes_used(loader, selection)
        rows = [
            {"name": "samples of the subset", "value": len(selection), "of": count},
            {"name": "requests / planned", "value": proxy.seen["range"],
             "ratio": round(proxy.seen["range"] / (cost.requests * batches), 3)},
            {"name": "bytes read / bytes used", "value": proxy.sent,
             "ratio": round(proxy.sent / used, 3)},
        ]  # fmt: skip
    write_results("remote", {**machine(), "batch": BATCH, "where": WHERE}, rows)


def _bytes_used(loader: object, selection: object) -> int:
    """Bytes of the pictures that an epoch shows; those that fill the last batch up as well."""
    import numpy as np

    from toolkit.stream.mix import Mix

    mix = Mix({"main": len(selection)}, {"main": 1}, 0)  # type: ignore[arg-type]
    end = len(loader) * BATCH  # type: ignore[arg-type]
    sizes = selection.table.column("target_size").to_numpy()  # type: ignore[attr-defined]
    return int(sizes[mix.at(np.arange(end)).row].sum())


if __name__ == "__main__":
    fire.Fire(main)
