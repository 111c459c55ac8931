"""A million latents: memory of encoding them and of streaming them, and the first batch.

    python -m bench.latents [--rows=1000000] [--folder=/tmp/tessera-bench]

Pictures are those of `bench.scale`, encoded by the Haar transform at 8 pixels, so that the
machinery is what counts. The same work is done over a hundredth of the rows; memory is RssAnon, the
largest over all of the encoding, or over a million streamed samples.
"""

import json
import shutil
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import fire

from bench.memory import largest, peak_of
from bench.scale import BATCH, write
from bench.timing import in_process, machine, write_results

SIDE = 8


def main(rows: int = 1_000_000, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/latents.json."""
    root, few = Path(folder) / "scale", max(rows // 100, 1)
    found: list[dict[str, Any]] = []
    for count, place in ((few, root / "plain-few"), (rows, root / "plain")):
        write(place, "plain", count)
        for part in (place / "s" / "main" / "sidecars", place / "m" / "main" / "sidecars"):
            shutil.rmtree(part, ignore_errors=True)
        start = time.perf_counter()
        peak = peak_of([
            "toolkit.encode", "dataset='main'", "--encoder=haar", f"--target_size={SIDE}",
            "--batch_size=256", f"--shards={place / 's'}", f"--manifests={place / 'm'}",
        ])  # fmt: skip
        seconds = time.perf_counter() - start
        found.append({"name": "encoding", "rows": count, "megabytes": round(peak / 1e6, 1),
                      "samples_per_s": round(count / seconds)})  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
        streamed = in_process("bench.latents", "one", str(place), str(rows))
        found.append({"name": "streaming", "rows": count, "samples": rows, **streamed})
        print(json.dumps(found[-1]), flush=True)
    write_results("latents", {**machine(), "batch": BATCH, "latent": [3 * 64, 1, 1]}, found)


def one(root: str, samples: int) -> None:
    """One measurement: started by `main`, not by hand."""
    from toolkit.store.layout import Layout
    from toolkit.store.selection import select
    from toolkit.stream.loader import Loader
    from toolkit.stream.tensors import TensorReader

    layout = Layout(Path(root) / "s", Path(root) / "m")
    paintings = select("main", "main", "weight > 0", layout, Path(root) / "cache")
    start = time.perf_counter()
    latents = TensorReader("latent", "target", f"haar-{SIDE}", [paintings])
    index_s = time.perf_counter() - start
    start = time.perf_counter()
    loader = Loader([paintings], {"main": 1}, BATCH, 64, seed=1, roles=(), features=[latents])
    next(iter(loader))
    first_s = time.perf_counter() - start
    start = time.perf_counter()
    with largest() as megabytes:
        for _ in islice(loader, samples // BATCH):
            pass
        rate = samples / (time.perf_counter() - start)
    print(json.dumps({
        "index_s": round(index_s, 2), "first_batch_s": round(first_s, 2),
        "samples_per_s": round(rate), "megabytes": megabytes[0],
    }))  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], int(sys.argv[3]))
    else:
        fire.Fire(main)
