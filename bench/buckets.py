"""Batches of one shape each, against the usual way to make them, and against decoding alone.

    python -m bench.buckets [--files=4000] [--samples=2400] [--rounds=5]
                            [--folder=/tmp/tessera-bench]

* `recipe`: what training scripts do: a list of files with their sizes, a batch sampler that groups
  them by bucket, and torch's DataLoader of two workers that decodes, resizes and cuts by Pillow.
* `limit`: two processes that only decode, from memory, and hand nothing over.

The pictures are JPEGs of seven shapes of about 0.4 megapixels; batches are 8 pictures of at most
256² pixels, sides multiples of 32, in the same buckets. A run is a process of its own that times
its samples after the first batch; runs take turns.
"""

import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import fire
import numpy as np

from bench.timing import in_process, machine, pairs, summary, write_results

BATCH, STEP, SIZE = 8, 32, 256
SHAPES = [(800, 533), (533, 800), (640, 640), (900, 400), (720, 540), (540, 720), (400, 900)]


def main(
    files: int = 4000, samples: int = 2400, rounds: int = 5, folder: str = "/tmp/tessera-bench",
    keep: bool = True,
) -> None:  # fmt: skip
    """Measures and keeps bench/results/buckets.json."""
    root = Path(folder) / f"buckets-{files}"
    prepare(root, files)

    def timed(kind: str) -> float:
        found = in_process("bench.buckets", "time", kind, str(root), str(samples))
        return float(found["seconds"])

    rows = []
    for peer in ("recipe", "limit"):
        found = pairs(lambda: timed("ours"), lambda peer=peer: timed(peer), rounds)
        rows.append(summary(f"buckets: {peer}", found, samples))
        print(json.dumps(rows[-1]), flush=True)
    about = {**machine(), "files": files, "samples": samples, "batch": BATCH, "shapes": SHAPES}
    write_results("buckets" if keep else "", about, rows)


def prepare(root: Path, files: int) -> None:
    """The pictures, packed, and a list of them with their sizes."""
    from PIL import Image

    from toolkit.painting.photographs import PHOTOGRAPHS, load

    if (root / "sizes.json").exists():
        return
    rng = np.random.Generator(np.random.Philox(0))
    photographs = [load(photograph.name) for photograph in PHOTOGRAPHS if photograph.paintable]
    sizes = {}
    for number, (width, height) in zip(range(files), itertools.cycle(SHAPES), strict=False):
        photograph = photographs[number % len(photographs)]
        tall, wide = photograph.shape[:2]
        scale = min(tall / height, wide / width) * rng.uniform(0.6, 1.0)
        box = (int(width * scale), int(height * scale))
        left, top = int(rng.integers(wide - box[0] + 1)), int(rng.integers(tall - box[1] + 1))
        cut = Image.fromarray(photograph).crop((left, top, left + box[0], top + box[1]))
        path = root / "jpegs" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut.resize((width, height)).save(path, quality=90, subsampling="4:2:0")
        sizes[str(path)] = (width, height)
    subprocess.run(
        [sys.executable, "-m", "toolkit.pack", "folder", f"--src={root / 'jpegs'}", "--name=mixed",
         f"--shards={root / 's'}", f"--manifests={root / 'm'}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (root / "sizes.json").write_text(json.dumps(sizes))


def time_one(kind: str, root: str, samples: int) -> None:
    """One run: started by `main`, not by hand."""
    if kind == "limit":
        paths = sorted((Path(root) / "jpegs").iterdir())[: int(samples)]
        with ProcessPoolExecutor(2) as pool:
            seconds = max(pool.map(_decode_only, [paths[0::2], paths[1::2]]))
        print(json.dumps({"seconds": seconds}))
        return
    batches = iter(_ours(Path(root)) if kind == "ours" else _recipe(Path(root)))
    next(batches)
    start, seen = time.perf_counter(), 0
    while seen < int(samples):
        seen += len(next(batches))
    print(json.dumps({"seconds": (time.perf_counter() - start) * int(samples) / seen}))


def _ours(root: Path) -> Any:
    from toolkit.store.layout import Layout
    from toolkit.store.selection import select
    from toolkit.stream.buckets import Buckets
    from toolkit.stream.loader import Loader

    chosen = select("main", "mixed", "true", Layout(root / "s", root / "m"))
    return Loader([chosen], {"main": 1}, BATCH, SIZE, seed=1, buckets=Buckets(STEP, SIZE, 0))


def _recipe(root: Path) -> Iterator[Any]:
    """Batches of a DataLoader."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from toolkit.stream.buckets import Buckets

    sizes = json.loads((root / "sizes.json").read_text())
    paths = list(sizes)
    widths, heights = (np.array([sizes[path][i] for path in paths]) for i in (0, 1))
    shapes = list(map(tuple, Buckets(STEP, SIZE, 0).shapes(heights, widths).tolist()))

    class Pictures(Dataset[Any]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> Any:
            height, width = shapes[number]
            picture = Image.open(paths[number]).convert("RGB")
            scale = max(width / picture.width, height / picture.height)
            picture = picture.resize(
                (max(width, round(picture.width * scale)),
                 max(height, round(picture.height * scale))), Image.Resampling.BICUBIC,
            )  # fmt: skip
            left, top = (picture.width - width) // 2, (picture.height - height) // 2
            cut = picture.crop((left, top, left + width, top + height))
            return torch.from_numpy(np.array(cut)).permute(2, 0, 1)

    def sampler() -> list[list[int]]:
        groups: dict[Any, list[int]] = {}
        for number in random.Random(1).sample(range(len(paths)), len(paths)):
            groups.setdefault(shapes[number], []).append(number)
        batches = [g[i : i + BATCH] for g in groups.values() for i in range(0, len(g), BATCH)]
        random.Random(2).shuffle(batches)
        return batches

    while True:
        yield from DataLoader(Pictures(), batch_sampler=sampler(), num_workers=2)


def _decode_only(paths: list[Path]) -> float:
    import simplejpeg

    held = [path.read_bytes() for path in paths]
    start = time.perf_counter()
    for data in held:
        simplejpeg.decode_jpeg(data, "RGB")
    return time.perf_counter() - start


if __name__ == "__main__":
    if sys.argv[1:2] == ["time"]:
        time_one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        fire.Fire(main)
