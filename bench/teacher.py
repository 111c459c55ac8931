"""SDXL with IP-Adapter at the protocol `a-fixed`, beside diffusers' pipeline in a plain loop.

    python -m bench.teacher [--count=24] [--rounds=3] [--device=cuda] [--folder=/tmp/tessera-bench]
    python -m bench.teacher --base=DIR --ip_adapter=DIR        # with weights that are there

Each way is a process of its own, by turns, so that its peak memory is its own; the first pictures
of each are not counted. Ours is what `toolkit.teach` does: pictures read from tars, made, looked
at, encoded and staged. Theirs reads files and saves a PNG. Every pair comes three times, for the
three seeds. Without weights that are there, random ones of full size are written (11 GB, two
minutes).
"""

import dataclasses
import json
import resource
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import fire

from bench.pictures import write_jpegs
from bench.timing import in_process, machine, write_results

CAPTION = "a man in a red shirt stands beside a small boat on the water"
WAYS: dict[str, dict[str, int]] = {
    "teach": {}, "batch4": {"batch_size": 4}, "compiled": {"compile": 1},
    "compiled4": {"compile": 1, "batch_size": 4},
}  # fmt: skip


def main(
    base: str = "", ip_adapter: str = "", count: int = 24, size: int = 512, rounds: int = 3,
    device: str = "cuda", precision: str = "fp16", ways: tuple[str, ...] | str = tuple(WAYS),
    warm_up: int = 16, folder: str = "/tmp/tessera-bench", keep: str = "teacher",
) -> None:  # fmt: skip
    """Measures and keeps bench/results/KEEP.json.

    Args:
        base: folder or hub id of SDXL's weights.
        ip_adapter: of the adapter's.
        count: pictures that are counted, a multiple of 4.
        size: their sides, in pixels.
        rounds: processes of each way, by turns.
        device: cuda or cpu.
        precision: fp16, bf16 or fp32.
        ways: of `WAYS`, with commas between them.
        warm_up: pictures before those that are counted, a multiple of 4: kernels are chosen and
            compiled meanwhile.
        folder: for what is made meanwhile.
        keep: name of the results, empty for none.
    """
    root = Path(folder) / "teacher"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    about = machine()
    weights = {"base": base, "ip_adapter": ip_adapter} if base else _random(Path(folder))
    task = {"root": str(root), "weights": weights, "count": count, "size": size,
            "device": device, "precision": precision, "warm_up": warm_up}  # fmt: skip
    _write_data(root, warm_up + count, size)
    chosen = [ways] if isinstance(ways, str) else list(ways)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ("plain", *chosen)}
    for number in range(rounds):
        for way in runs if number % 2 == 0 else reversed(runs):
            found = in_process("bench.teacher", "one", json.dumps({**task, "way": way}))
            print(way, json.dumps(found), flush=True)
            runs[way].append(found)
    rows = [_row(way, runs) for way in runs]
    about |= {"device": runs["plain"][0]["device_name"], "size": size, "pictures": count,
              "precision": precision, "random_weights": not base}  # fmt: skip
    write_results(keep, about, rows)


def _row(way: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    ratios = sorted(
        theirs["seconds"] / ours["seconds"]
        for ours, theirs in zip(runs[way], runs["plain"], strict=True)
    )
    return {
        "name": way, "seconds": round(statistics.median(r["seconds"] for r in runs[way]), 4),
        "faster": round(statistics.median(ratios), 3),
        "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "gpu_gb": max(r["gpu_gb"] for r in runs[way]),
        "host_gb": max(r["host_gb"] for r in runs[way]),
        "psnr_db": None if way == "plain" else min(r["psnr_db"] for r in runs[way]),
    }  # fmt: skip


def one(task: str) -> None:
    """One measurement: started by `main`, not by hand."""
    import torch

    asked = json.loads(task)
    measure = _plain if asked["way"] == "plain" else _ours
    seconds, psnr_db = measure(asked)
    gpu = torch.cuda.is_available() and asked["device"] != "cpu"
    print(json.dumps({
        "seconds": seconds, "psnr_db": psnr_db,
        "gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if gpu else 0.0,
        "host_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "device_name": torch.cuda.get_device_name() if gpu else "cpu",
    }))  # fmt: skip


def _plain(asked: dict[str, Any]) -> tuple[float, float]:
    """Seconds a picture; inf, for these are what others are compared with."""
    from bench.plain_teacher import Job, make, open_pipeline

    root = Path(asked["root"])
    out = root / "plain"
    out.mkdir(exist_ok=True)
    contents, styles = (sorted((root / kind).rglob("*.jpg")) for kind in ("content", "style"))
    jobs = [
        Job(contents[index], styles[index], CAPTION, seed, out / f"{number}.png")
        for number, (index, seed) in enumerate(_plan(asked))
    ]
    settings = _settings(asked)
    pipeline = open_pipeline(asked["weights"], settings, asked["device"])
    skipped = asked["warm_up"]
    make(pipeline, jobs[:skipped], settings, asked["size"])
    found = make(pipeline, jobs[skipped:], settings, asked["size"])
    return sum(found) / len(found), float("inf")


def _ours(asked: dict[str, Any]) -> tuple[float, float]:
    """Seconds a picture; dB of the least alike one from theirs."""
    from toolkit.pairing.plan import Target
    from toolkit.store.layout import Layout
    from toolkit.store.manifest import read_manifest
    from toolkit.teachers.grading import default_limits
    from toolkit.teachers.protocol import load_protocol
    from toolkit.teachers.sdxl_ip_adapter import open_teacher
    from toolkit.teaching.attempts import Maker
    from toolkit.teaching.faster import Faster
    from toolkit.teaching.making import Making, Summary
    from toolkit.teaching.places import Places
    from toolkit.teaching.stage import Stage

    root, way = Path(asked["root"]), WAYS[asked["way"]]
    layout = Layout(root / "s", root / "m")
    protocol = load_protocol("a-fixed")
    protocol = dataclasses.replace(protocol, settings=_settings(asked), size=asked["size"])
    # what random weights paint is not to be tried again
    limits = {c: dataclasses.replace(one, refused=None) for c, one in default_limits().items()}
    contents, styles = (
        [row["key"] for path in layout.manifests_of(name) for row in read_manifest(path, ["key"])]
        for name in ("content", "wikiart")
    )
    targets = [
        Target(f"{number:06d}", "content", contents[index], "wikiart", styles[index],
               CAPTION, "train", None, None, None, seed)
        for number, (index, seed) in enumerate(_plan(asked))
    ]  # fmt: skip
    size = int(way.get("batch_size", 1))
    blocks = [targets[start : start + size] for start in range(0, len(targets), size)]
    shutil.rmtree(layout.shards / "targets", ignore_errors=True)
    stage = Stage(layout, "targets")
    with Places(layout, ["content", "wikiart"]) as places:
        teacher = open_teacher(protocol.settings, asked["weights"], asked["device"])
        if way:
            teacher = Faster(teacher, bool(way.get("compile")))
        maker = Maker(places, protocol, teacher, limits, "png", 1)
        skipped = asked["warm_up"] // size
        Making(stage, 0, maker, Summary()).run(blocks[:skipped], "warm-up")
        summary = Summary()
        Making(stage, 0, maker, summary).run(blocks[skipped:], "counted")
    unlike = [
        _psnr(root, stage, targets[number], number)
        for number in range(asked["warm_up"], len(targets))
    ]
    return summary.seconds / summary.num_made, round(min(unlike), 1)


def _psnr(root: Path, stage: Any, target: Any, number: int) -> float:
    import numpy as np
    from PIL import Image

    from toolkit.store.images import decode_rgb
    from toolkit.teaching.faster import psnr

    (attempt,) = stage.attempts(0, target)
    theirs = root / "plain" / f"{number}.png"
    if not attempt.ext or not theirs.exists():
        return float("nan")
    ours = decode_rgb(stage.picture(0, target, attempt))
    return psnr(ours, np.asarray(Image.open(theirs).convert("RGB")))


def _settings(asked: dict[str, Any]) -> Any:
    from toolkit.teachers.protocol import load_protocol

    settings = load_protocol("a-fixed").settings
    return dataclasses.replace(settings, precision=asked["precision"])


def _plan(asked: dict[str, Any]) -> list[tuple[int, int]]:
    """Number of the pair and seed of each picture: all pairs with one seed, then with the next."""
    count = asked["warm_up"] + asked["count"]
    num_pairs = -(-count // 3)
    return [(number % num_pairs, number // num_pairs) for number in range(count)]


def _write_data(root: Path, count: int, size: int) -> None:
    from toolkit.packing.dataset import pack
    from toolkit.sources.folder import open_source
    from toolkit.store.layout import Layout

    layout = Layout(root / "s", root / "m")
    for kind, name, side in (("content", "content", size), ("style", "wikiart", size + 256)):
        pack(open_source(write_jpegs(root / kind, -(-count // 3), side)), name, layout, 1000)


def _random(folder: Path) -> dict[str, str]:
    from bench.sdxl_weights import write_weights

    start = time.perf_counter()
    found = write_weights(folder)
    print(f"weights of full size, random: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2])
    else:
        fire.Fire(main)
