"""Loading pictures: against the limit, against other loaders, and against the usual recipe.

    python -m bench.loader [--files=8000] [--samples=4000] [--rounds=5] [--only=ROW,ROW]
                           [--folder=/tmp/tessera-bench]

* `limit`: two processes that only decode, from memory, and hand nothing over.
* peers: `bench/peer_loaders.py`, each at its best of 0, 1 and 2 workers.

A run is a process of its own that times its samples after the first batch, imports and start left
out; runs take turns.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import fire

from bench.peer_loaders import BATCH, PREPARE, SUBSET, measure
from bench.pictures import write_jpegs
from bench.timing import machine, pairs, summary, write_results

PEERS = ("webdataset", "mosaic", "litdata", "huggingface", "energon", "spdl", "loose")
PYTHON = {"huggingface": sys.executable}  # its version here; the others need older packages
# name of the row, what ours does, the peer
ROWS = {
    "512: limit": ("512", "limit"),
    **{f"512: {peer}": ("512", peer) for peer in PEERS},
    "256: recipe": ("256", "webdataset-recipe"),
    **{f"undecoded: {peer}": ("raw", f"{peer}-raw") for peer in ("webdataset", "litdata")},
    "10% subset: webdataset": ("subset", "webdataset-subset"),
    "10% subset, undecoded: webdataset": ("subset-raw", "webdataset-subset-raw"),
}
TIMES = {"raw": 10, "subset": 0.5}  # as many samples, to take some seconds


def main(
    files: int = 8000,
    samples: int = 4000,
    rounds: int = 5,
    folder: str = "/tmp/tessera-bench",
    only: str | tuple[str, ...] = (),
    results: str = "loader",
) -> None:
    """Measures and keeps bench/results/RESULTS.json."""
    root = Path(folder) / f"loader-{files}"
    _prepare(root, files)
    rows: list[dict[str, Any]] = []
    for name, (kind, peer) in ROWS.items():
        if only and name not in ([only] if isinstance(only, str) else only):
            continue
        count = int(samples * TIMES.get(kind, 1))
        try:
            workers, theirs = _best(root, peer, count)
        except RuntimeError as error:
            rows.append({"name": name, "missing": str(error)[-300:]})
            continue
        found = pairs(_ours(root, kind, count), theirs, rounds)
        rows.append({**summary(name, found, count), "their_workers": workers})
        print(json.dumps(rows[-1]), flush=True)
    about = {**machine(), "files": files, "samples": samples, "batch": BATCH,
             "picture": "JPEG 512×512, quality 90, 4:2:0"}  # fmt: skip
    write_results(results, about, rows)


def _prepare(root: Path, files: int) -> None:
    """The pictures, packed by us; what peers need is made from our tars."""
    pictures = write_jpegs(root / "jpegs", files, classes=10)
    if not (root / "m" / "jpegs" / "dataset.json").exists():
        subprocess.run(
            [sys.executable, "-m", "toolkit.pack", "folder", f"--src={pictures}", "--name=jpegs",
             f"--shards={root / 's'}", f"--manifests={root / 'm'}"],
            check=True,
        )  # fmt: skip


def _best(root: Path, peer: str, samples: int) -> tuple[int, Callable[[], float]]:
    """The peer at its best number of workers, after one run of each. Raises RuntimeError."""
    name = peer.partition("-")[0]
    place = root / "peers" / name
    if peer == "limit":
        return 2, _run(sys.executable, "bench.loader", "limit", root / "jpegs", samples)
    python = PYTHON.get(name, ".venv-peers/loaders/bin/python")
    if not Path(python).exists():
        raise RuntimeError(f"{python} is not there: see bench/README.md")
    common = (root / "s" / "jpegs", place)
    if name in PREPARE and not place.with_suffix(".done").exists():
        place.parent.mkdir(exist_ok=True)
        _output(python, "bench.peer_loaders", "prepare", name, *common)
        place.with_suffix(".done").touch()
    runs = {
        workers: _run(python, "bench.peer_loaders", "time", peer, *common, workers, samples)
        for workers in ((2,) if peer.endswith("recipe") else (0, 1, 2))
    }
    seconds = {workers: run() for workers, run in runs.items()}
    best = min(seconds, key=lambda workers: seconds[workers])
    return best, runs[best]


def _ours(root: Path, kind: str, samples: int) -> Callable[[], float]:
    return _run(sys.executable, "bench.loader", "ours", root, kind, samples)


def _run(python: str, module: str, *args: Any) -> Callable[[], float]:
    return lambda: float(json.loads(_output(python, module, *args).splitlines()[-1])["seconds"])


def _output(python: str, module: str, *args: Any) -> str:
    command = [python, "-m", module, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def ours(root: str, kind: str, samples: str) -> None:
    """One run of ours: started by `main`, not by hand."""
    from toolkit.store.layout import Layout
    from toolkit.store.selection import select
    from toolkit.stream.loader import Loader
    from toolkit.stream.raw import Samples

    layout = Layout(Path(root) / "s", Path(root) / "m")
    where = f"style = '{SUBSET}'" if "subset" in kind else "true"
    selection = select("main", "jpegs", where, layout)
    if kind.endswith("raw"):
        batches = _batched(Samples([selection], {"main": 1}, seed=1))
    else:
        size = 256 if kind == "256" else 512
        batches = Loader([selection], {"main": 1}, BATCH, size, seed=1)
    print(json.dumps({"seconds": measure(batches, int(samples))}))


def _batched(samples: Any) -> Any:
    stream = iter(samples)
    while True:
        yield [next(stream)["jpg"] for _ in range(BATCH)]


def limit(folder: str, samples: str) -> None:
    """Two processes that decode what they have in memory."""
    half = int(samples) // 2
    with ProcessPoolExecutor(2) as pool:
        seconds = list(pool.map(_decode_only, [folder] * 2, [half] * 2, range(2)))
    print(json.dumps({"seconds": max(seconds)}))


def _decode_only(folder: str, count: int, part: int) -> float:
    import simplejpeg

    files = sorted(Path(folder).rglob("*.jpg"))[part::2]
    data = [files[i % len(files)].read_bytes() for i in range(count)]
    start = time.perf_counter()
    for picture in data:
        simplejpeg.decode_jpeg(picture, "RGB")
    return time.perf_counter() - start


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        ours(*sys.argv[2:])
    elif sys.argv[1:2] == ["limit"]:
        limit(*sys.argv[2:])
    else:
        fire.Fire(main)
