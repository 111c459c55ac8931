"""One stream whatever the workers, the ranks and the kills: a table of hashes of it.

    python -m bench.order [--what=pixels|latents|buckets] [--steps=60] [--folder=/tmp/tessera-bench]

The hardest stream there is: triplets and Fill50K 3:1, an SQL subset, random crops and flips, and a
target that does not decode. Latents are those of the Haar transform, mirrored ones included, of
targets and contents, in the place of pixels and crops. Buckets are batches of one shape each, of
photographs and paintings of many shapes, some too small, and of Fill50K, with latents beside the
pixels. Ranks are processes that meet by gloo, each
with its slice of every global batch. A killed run gets `kill -9` on all its ranks at a random step,
and goes on from the loader's last state. A cell hashes keys, pixels, seeds and captions of all
steps, in order.
"""

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fire

from bench.timing import machine, write_results

WORKERS, RANKS = (0, 1, 2, 4), (1, 2, 4)
WHERE = "style in ('Cubism', 'Ukiyo_e', 'Impressionism')"
BATCH, SIZE, SEED = 8, 64, 5
LATENTS = ("target", "content")
SHAPES = [(96, 64), (64, 96), (70, 70), (120, 40), (50, 75), (30, 28), (61, 90)]


def main(
    what: str = "pixels", steps: int = 60, folder: str = "/tmp/tessera-bench", keep: bool = True
) -> None:
    """Measures and keeps bench/results/order.json, or order-WHAT.json. Exit code 1 when the hashes
    differ."""
    root = Path(folder) / f"order-{what}"
    data = sample_data(root, what)
    results = "" if not keep else "order" if what == "pixels" else f"order-{what}"
    rows = []
    for ranks in RANKS:
        for workers in WORKERS:
            cell: dict[str, Any] = {"ranks": ranks, "workers": workers}
            cell["straight"] = stream_hash(root, data, what, steps, ranks, workers, None)
            killer = random.Random()
            cell["killed"] = stream_hash(root, data, what, steps, ranks, workers, killer)
            rows.append(cell)
    values = {row[name] for row in rows for name in ("straight", "killed")}
    rows.append({"name": "different hashes", "value": len(values)})
    write_results(results, {**machine(), "steps": steps, "batch": BATCH, "where": WHERE}, rows)
    if len(values) > 1:
        raise SystemExit(1)


def stream_hash(
    root: Path,
    data: Path,
    what: str,
    steps: int,
    ranks: int,
    workers: int,
    killer: random.Random | None,
) -> str:
    """The hash of a stream that real processes have read. killer: draws the step at which they are
    killed, once; None lets them be."""
    place = root / "run"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if killer is not None:
        step = killer.randrange(2, steps - 1)
        processes = _start(place, data, what, steps, ranks, workers)
        while _finished(place) < step and processes[0].poll() is None:
            time.sleep(0.005)
        for process in processes:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            process.wait()
        if _finished(place) >= steps:
            raise RuntimeError("the run ended before it could be killed: give more --steps")
    for process in _start(place, data, what, steps, ranks, workers):
        if process.wait():
            raise RuntimeError("a rank failed: see above")
    lines = [line.split() for line in (place / "steps").read_text().splitlines()]
    hashes = {int(step): value for step, value, _ in lines}  # a killed step may stand twice
    if sorted(hashes) != list(range(steps)):
        raise RuntimeError(f"{len(hashes)} of {steps} steps were read")
    if not any(int(count) for *_, count in lines):
        raise RuntimeError("the broken sample was not met: give more --steps")
    whole = "".join(hashes[step] for step in range(steps))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _finished(place: Path) -> int:
    try:
        return int(json.loads((place / "state.json").read_text())["position"]) // BATCH
    except (OSError, ValueError):
        return 0


def _start(
    place: Path, data: Path, what: str, steps: int, ranks: int, workers: int
) -> list[subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
              "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "-m", "bench.order", "rank", str(place), str(data), what,
               str(steps), str(workers)]  # fmt: skip
    return [subprocess.Popen(command, env={**common, "RANK": str(r)}) for r in range(ranks)]


def rank(place: str, data: str, what: str, steps: int, workers: int) -> None:
    """One rank of one cell: started by `main`, not by hand."""
    import torch.distributed as dist

    from toolkit.store.layout import Layout
    from toolkit.store.selection import select
    from toolkit.stream.augment import Augment
    from toolkit.stream.buckets import Buckets
    from toolkit.stream.loader import Loader
    from toolkit.stream.tensors import TensorReader

    dist.init_process_group("gloo")
    number, world = dist.get_rank(), dist.get_world_size()
    layout = Layout(Path(data) / "s", Path(data) / "m")
    cache = Path(place) / f"selections-{number}"
    main = ("mixed", "true") if what == "buckets" else ("teacher", WHERE)
    selections = [
        select("main", *main, layout, cache),
        select("fill50k", "fill50k", "true", layout, cache),
    ]
    reads: dict[str, Any] = {"augment": Augment("random", 0.5, 0.5, 0.1)}
    if what == "latents":
        features = [TensorReader(r, r, "latents", selections, cache=cache) for r in LATENTS]
        augment = Augment(flip=0.5, caption_dropout=0.1)
        reads = {"augment": augment, "roles": (), "features": features}
    if what == "buckets":
        reads["features"] = [TensorReader("latent", "target", "latents", selections, cache=cache)]
        reads["buckets"] = Buckets(16, SIZE, SIZE // 2)
    loader = Loader(
        selections, {"main": 3, "fill50k": 1}, BATCH, SIZE, SEED, workers=workers, rank=number,
        world=world, stop=steps * BATCH, **reads,
    )  # fmt: skip
    state = Path(place) / "state.json"
    if state.exists():
        loader.load_state_dict(json.loads(state.read_text()))
    for batch in loader:
        step = loader.state_dict()["position"] // BATCH - 1
        parts: list[Any] = [None] * world
        dist.all_gather_object(parts, (_samples(batch), batch.num_substituted))
        if number == 0:
            digest = hashlib.sha256("".join(x for found, _ in parts for x in found).encode())
            substituted = sum(count for _, count in parts)
            with open(Path(place) / "steps", "a") as file:
                file.write(f"{step} {digest.hexdigest()} {substituted}\n")
            new = state.with_suffix(".new")
            new.write_text(json.dumps(loader.state_dict()))
            new.replace(state)
        time.sleep(0.01)  # so that a kill finds it at work
    dist.barrier()
    dist.destroy_process_group()


def _samples(batch: Any) -> list[str]:
    """A hash of each sample of a batch: key, seed, caption, and every picture with its cut. Those
    of weight 0 are none: of a short batch a rank may have nothing."""
    found = []
    for i in (i for i in range(len(batch)) if batch.weights[i] > 0):
        digest = hashlib.sha256(repr((batch.keys[i], int(batch.sample_seed[i]), batch.captions[i],
                                      float(batch.weights[i]))).encode())  # fmt: skip
        for role in sorted(batch.images):
            images = batch.images[role]
            digest.update(images.pixels[i].contiguous().numpy().tobytes())
            digest.update(repr((images.keys[i], images.crop_offset[i].tolist())).encode())
        for name, (values, mask) in sorted(batch.features.items()):
            digest.update(f"{name} {mask[i].tolist()}".encode() + values[i].numpy().tobytes())
        found.append(digest.hexdigest())
    return found


def sample_data(root: Path, what: str) -> Path:
    """The built-in sample data, one of whose targets does not decode; for buckets its photographs
    and paintings, cut to many shapes, one of which does not."""
    from toolkit.store.layout import Layout

    data = root / "data"
    layout = Layout(data / "s", data / "m")
    if not (data / "done").exists():
        subprocess.run(
            [sys.executable, "-m", "toolkit.pack", f"--shards={layout.shards}",
             f"--manifests={layout.manifests}"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if what == "buckets":
            _pack_mixed(data / "mixed", layout)
            _spoil(layout, "mixed", lambda row: row["height"] > row["width"])
        else:
            _spoil(layout, "teacher", lambda row: row["style"] in WHERE)
        views = ["--views=3", "--least_scale=0.5"] if what == "buckets" else []
        subprocess.run(
            [sys.executable, "-m", "toolkit.encode", "true", "--encoder=haar", "--flip", *views,
             f"--target_size={SIZE}", "--sidecar=latents", f"--shards={layout.shards}",
             f"--manifests={layout.manifests}"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (data / "done").touch()
    return data


def _pack_mixed(folder: Path, layout: Any) -> None:
    """Photographs and paintings of the sample data, cut to shapes that repeat."""
    from io import BytesIO

    from PIL import Image

    from toolkit.store.manifest import read_manifest
    from toolkit.store.samples import SampleReader

    folder.mkdir()
    shapes = itertools.cycle(SHAPES)
    for dataset in ("content", "wikiart"):
        reader = SampleReader(layout, dataset)
        for path in layout.manifests_of(dataset):
            for row, (width, height) in zip(read_manifest(path), shapes, strict=False):
                picture = Image.open(BytesIO(reader.picture(row["key"]))).convert("RGB")
                cut = picture.resize((128, 128)).crop((0, 0, width, height))
                cut.save(folder / f"{dataset}-{row['key']}.jpg", quality=90)
    subprocess.run(
        [sys.executable, "-m", "toolkit.pack", "folder", f"--src={folder}", "--name=mixed",
         f"--shards={layout.shards}", f"--manifests={layout.manifests}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _spoil(layout: Any, dataset: str, wanted: Callable[[Any], bool]) -> None:
    """Overwrites the first wanted picture of a dataset."""
    from toolkit.store.manifest import read_manifest, write_manifest

    manifest = layout.manifest(dataset, 0)
    rows = read_manifest(manifest)
    picture = next(row for row in rows if wanted(row))["members"][0]
    with open(layout.tar(dataset, 0), "r+b") as tar:
        tar.seek(picture["offset"])
        spoilt = tar.read(200) + bytes(picture["size"] - 200)
        tar.seek(picture["offset"])
        tar.write(spoilt)
    # as if it had been packed like that, with --check=headers: damage would stop the stream
    picture["sha256"] = hashlib.sha256(spoilt).hexdigest()
    write_manifest(manifest, rows, "undecodable", "00")


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        rank(*sys.argv[2:5], int(sys.argv[5]), int(sys.argv[6]))
    else:
        fire.Fire(main)
