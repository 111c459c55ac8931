"""A million samples: how long until the first batch, how long to resume, how much memory.

    python -m bench.scale [--rows=1000000] [--rounds=5] [--folder=/tmp/tessera-bench]

`plain` is one picture a sample; `triplets` links each target to one of a hundred thousand contents
and of eighty thousand styles, and mixes a second dataset in, 3 : 1. Rows share the pictures of one
tar a dataset, 32 pixels a side. Each figure comes from a process of its own, imports left out;
memory is RssAnon, the largest over a whole epoch.
"""

import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import fire

from bench.memory import largest
from bench.timing import in_process, machine, write_results

PER_SHARD, SIZE, BATCH = 1000, 32, 64


def main(rows: int = 1_000_000, rounds: int = 5, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/scale.json."""
    root = Path(folder) / "scale"
    few = max(rows // 100, 1)
    found: list[dict[str, Any]] = []
    for kind in ("plain", "triplets"):
        write(root / kind, kind, rows)
        write(root / f"{kind}-few", kind, few)
        runs = [_one(root / kind, "start", 0, fresh=True) for _ in range(rounds)]
        again = [_one(root / kind, "start", 0) for _ in range(rounds)]
        later = [_one(root / kind, "start", rows * BATCH) for _ in range(rounds)]
        found.append({
            "name": kind, "rows": rows,
            "compile_s": _median(runs, "compile_s"),
            "first_batch_s": _median(again, "first_batch_s"),
            f"first_batch_after_{rows}_steps_s": _median(later, "first_batch_s"),
        })  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
        small = _one(root / f"{kind}-few", "epoch", rows)  # as many samples, of a hundredth
        large = _one(root / kind, "epoch", rows)
        found.append({
            "name": f"{kind}: RssAnon over {rows} samples", "of_rows": [few, rows],
            "megabytes": [small["megabytes"], large["megabytes"]],
            "growth_megabytes": round(large["megabytes"] - small["megabytes"], 1),
        })  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
    write_results("scale", {**machine(), "batch": BATCH, "picture": "JPEG 32×32"}, found)


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return round(statistics.median(run[name] for run in runs), 3)


def _one(root: Path, what: str, number: int, fresh: bool = False) -> dict[str, Any]:
    if fresh:
        shutil.rmtree(root / "cache", ignore_errors=True)
    return in_process("bench.scale", "one", str(root), what, str(number))


def one(root: str, what: str, number: int) -> None:
    """One measurement: started by `main`, not by hand. number: of steps or samples."""
    from toolkit.store.layout import Layout
    from toolkit.store.selection import select
    from toolkit.stream.loader import Loader

    layout = Layout(Path(root) / "s", Path(root) / "m")
    mix = {"main": 3, "pairs": 1} if "pairs" in layout.datasets() else {"main": 1}
    start = time.perf_counter()
    found = [select(name, name, "weight > 0", layout, Path(root) / "cache") for name in mix]
    compile_s = time.perf_counter() - start
    start = time.perf_counter()
    loader = Loader(found, mix, BATCH, SIZE, seed=1)
    if what == "start":
        loader.load_state_dict({**loader.state_dict(), "position": number})
        next(iter(loader))
        print(json.dumps({"compile_s": compile_s, "first_batch_s": time.perf_counter() - start}))
        return
    with largest() as megabytes:
        for _ in islice(loader, number // BATCH):
            pass
    print(json.dumps({"megabytes": megabytes[0]}))


def write(root: Path, kind: str, rows: int) -> None:
    """A dataset `main` of so many rows; for triplets also what they link to, and `pairs`."""
    done = root / "done"
    if done.exists() and done.read_text() == str(rows):
        return
    shutil.rmtree(root, ignore_errors=True)
    others = {"content": max(rows // 10, 1), "style": max(rows * 8 // 100, 1)}
    if kind == "triplets":
        for role, count in others.items():
            _dataset(root, role, count, {})
        _dataset(root, "pairs", max(rows // 20, 1), {})
    _dataset(root, "main", rows, others if kind == "triplets" else {})
    done.write_text(str(rows))


def _dataset(root: Path, name: str, rows: int, links: dict[str, int]) -> None:
    from toolkit.core.files import sha256_of
    from toolkit.store.layout import Layout
    from toolkit.store.manifest import write_manifest

    layout = Layout(root / "s", root / "m")
    tar, members = _tar(layout, name)
    digest = sha256_of(tar)
    for index in range(-(-rows // PER_SHARD)):
        if index:
            layout.tar(name, index).hardlink_to(tar)
        path = layout.manifest(name, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = range(index * PER_SHARD, min(rows, (index + 1) * PER_SHARD))
        write_manifest(path, list(_rows(name, path.stem, numbers, members, links)), "f", digest)
    parents = list(links)
    layout.card(name).write_text(json.dumps({"root_sha256": f"{name} {rows}", "parents": parents}))


def _rows(
    name: str, stem: str, numbers: range, members: list[dict[str, Any]], links: dict[str, int]
) -> Iterator[dict[str, Any]]:
    for number in numbers:
        found = [
            {"role": role, "dataset": role, "key": f"{number * 7919 % count:09d}"}
            for role, count in links.items()
        ]
        yield {
            "key": f"{number:09d}", "dataset": name, "shard": stem, "status": "ok", "width": SIZE,
            "height": SIZE, "format": "jpeg", "style": f"style {number % 27}", "split": "train",
            "caption": f"a picture, number {number}", "source_id": f"{number}", "weight": 1.0,
            "members": [members[number % PER_SHARD]], "links": found,
        }  # fmt: skip


def _tar(layout: Any, name: str) -> tuple[Path, list[dict[str, Any]]]:
    import numpy as np

    from toolkit.store.images import encode_jpeg
    from toolkit.store.tar import ShardWriter

    tar = layout.tar(name, 0)
    tar.parent.mkdir(parents=True)
    rng = np.random.Generator(np.random.Philox(1))
    members = []
    with ShardWriter(tar) as shard:
        for number in range(PER_SHARD):
            coarse = rng.integers(0, 255, (4, 4, 3), np.uint8)
            data = encode_jpeg(np.kron(coarse, np.ones((SIZE // 4, SIZE // 4, 1), np.uint8)))
            (member,) = shard.write(f"{number:09d}", {"jpg": data})
            members.append({"ext": "jpg", "offset": member.offset, "size": member.size,
                            "sha256": member.sha256})  # fmt: skip
    return tar, members


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        fire.Fire(main)
