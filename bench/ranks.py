"""One run on 1, 2 and 4 ranks: the same losses? And how fast are two ranks beside two runs?

    python -m bench.ranks [--what=curves|speed] [--steps=300] [--rounds=7]

Curves: `style_adapter` in its smoke preset on the hardest stream there is (triplets and Fill50K
3:1, an SQL subset, a target that does not decode), on gloo ranks with one thread each: 1, 2 and 4
by DDP, 2 by FSDP2, and 4 of which one gets `kill -9` at a random step, going on as 2. All losses
are compared with those of one rank, step by step.

Speed: two gloo ranks with a global batch of 2 × 16, against two runs of a batch of 16 each that
start together and know nothing of each other. Who begins alternates; the first steps do not count.
"""

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fire

from bench.order import WHERE, sample_data
from bench.ranks_chart import chart
from bench.timing import machine, write_results

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
WARM_UP, TIMED, BATCH = 10, 60, 16


def main(
    what: str = "curves", steps: int = 300, rounds: int = 7, folder: str = "/tmp/tessera-bench",
    keep: bool = True,
) -> None:  # fmt: skip
    """Measures, and keeps bench/results/ranks.json and ranks.svg, or ranks-speed.json."""
    root = Path(folder) / "ranks"
    data = sample_data(Path(folder) / "order-pixels", "pixels")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    about = {**machine(), "method": "style_adapter, smoke", "where": WHERE, "batch": BATCH}
    if what == "speed":
        write_results("ranks-speed" if keep else "", about, [speed(root, data, rounds)])
        return
    curves = {name: curve(root, data, name, steps) for name in CURVES}
    first = curves[next(iter(CURVES))]
    rows: list[dict[str, Any]] = [
        {"name": name, "steps": len(found), **differences(found, first)}
        for name, found in curves.items()
    ]
    write_results("ranks" if keep else "", about, rows)
    if keep:
        svg = chart({name: [x["loss"] for x in found] for name, found in curves.items()})
        (Path(__file__).parent / "results" / "ranks.svg").write_text(svg, "utf-8")


CURVES = {
    "1 rank": (1, ()),
    "2 ranks, DDP": (2, ()),
    "4 ranks, DDP": (4, ()),
    "2 ranks, FSDP2": (2, ("--parallel=fsdp",)),
    "4 ranks, one killed, on as 2": (4, ()),
}


def curve(root: Path, data: Path, name: str, steps: int) -> list[dict[str, float]]:
    """The log of a run."""
    ranks, more = CURVES[name]
    run = name.replace(",", "").replace(" ", "-")
    flags = [*_flags(root, data, run), f"--steps={steps}", "--save_interval=20", *more]
    if "killed" in name:
        _killed(root / "runs" / run, ranks, flags, steps)
        ranks, flags = 2, [*_place(root, data, run), "--resume"]
    done = _start(ranks, flags, root / f"{run}.log")
    if done.wait():
        raise RuntimeError((root / f"{run}.log").read_text()[-2000:])
    log = _log(root / "runs" / run)
    if sum(x["substituted"] for x in log) == 0:
        raise RuntimeError("the broken sample was not met: give more --steps")
    return log


def _killed(run: Path, ranks: int, flags: list[str], steps: int) -> None:
    """Starts a run, kills one of its ranks at a random step, and waits for its end."""
    at = random.randrange(steps // 4, steps * 3 // 4)
    running = _start(ranks, flags, run.parent.parent / "killed.log")
    while len(_log(run)) < at and running.poll() is None:
        time.sleep(0.05)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(max(map(int, children)), signal.SIGKILL)
    began = time.monotonic()
    running.wait()
    print(f"killed at step {at}; all had stopped after {time.monotonic() - began:.1f} s")


def differences(found: list[dict[str, float]], first: list[dict[str, float]]) -> dict[str, float]:
    """The largest differences of losses, relative."""
    off = [abs(a["loss"] / b["loss"] - 1) for a, b in zip(found, first, strict=True)]
    return {
        "largest difference": float(f"{max(off):.2g}"),
        "in the first tenth": float(f"{max(off[: len(off) // 10]):.2g}"),
        "last loss": round(found[-1]["loss"], 6),
    }


def speed(root: Path, data: Path, rounds: int) -> dict[str, Any]:
    """Samples a second of two ranks, over those of two runs beside each other."""
    found: list[tuple[float, float]] = []
    for number in range(rounds):
        order = [_together, _apart] if number % 2 else [_apart, _together]
        rates = {way: way(root, data) for way in order}
        found.append((rates[_together], rates[_apart]))
    ratios = sorted(together / apart for together, apart in found)
    return {
        "name": "2 ranks over 2 runs of their own",
        "ours_per_s": round(statistics.median(together for together, _ in found), 1),
        "theirs_per_s": round(statistics.median(apart for _, apart in found), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "pairs": rounds,
    }


def _together(root: Path, data: Path) -> float:
    return _rate(root, data, {"together": (2, 2 * BATCH)})


def _apart(root: Path, data: Path) -> float:
    return _rate(root, data, {"a": (1, BATCH), "b": (1, BATCH)})


def _rate(root: Path, data: Path, runs: dict[str, tuple[int, int]]) -> float:
    """Samples a second of runs that start together. runs: ranks and batch of each, by name."""
    started = []
    for name, (ranks, batch) in runs.items():
        shutil.rmtree(root / "runs" / name, ignore_errors=True)
        flags = _flags(root, data, name, batch)
        flags += [f"--steps={WARM_UP + TIMED}", "--save_interval=1000"]
        started.append(_start(ranks, flags, root / f"{name}.log"))
    codes = [process.wait() for process in started]
    if any(codes):
        raise RuntimeError("a run failed: see its log")
    rate = 0.0
    for name, (_, batch) in runs.items():
        timed = _log(root / "runs" / name)[WARM_UP:]
        rate += batch * len(timed) / sum(x["step_s"] for x in timed)
    return rate


def _place(root: Path, data: Path, name: str) -> list[str]:
    return ["style_adapter", f"--name={name}", f"--runs={root / 'runs'}",
            f"--shards={data / 's'}", f"--manifests={data / 'm'}"]  # fmt: skip


def _flags(root: Path, data: Path, name: str, batch: int = BATCH) -> list[str]:
    return [*_place(root, data, name), f"--where={WHERE}", "--threads=1", f"--batch_size={batch}",
            "--sample_every=0", "--eval_every=100000"]  # fmt: skip


def _start(ranks: int, flags: list[str], log: Path) -> subprocess.Popen[bytes]:
    launcher = [*TORCHRUN, f"--nproc_per_node={ranks}"] if ranks > 1 else []
    with open(log, "ab") as out:
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", "train.run", *flags], stdout=out, stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def _log(run: Path) -> list[dict[str, float]]:
    """The steps of a run's log so far."""
    try:
        lines = (run / "log.jsonl").read_text("utf-8").splitlines()
        return [record for line in lines if "loss" in (record := json.loads(line))]
    except (OSError, ValueError):
        return []


if __name__ == "__main__":
    fire.Fire(main)
