"""One set of weights whatever the workers and the kills: a table of hashes of a run's end.

    python -m bench.resume [--steps=100] [--kills=7] [--folder=/tmp/tessera-bench]

The stream is the hardest one of `bench.order`: triplets and Fill50K 3:1, an SQL subset, random
crops and flips, a target that does not decode; the network is small, averages of weights are
tracked. A killed run gets `kill -9` so many times at random moments, start and checkpoints among
them, and resumes each time with another number of workers. A cell hashes weights, optimiser,
averages and all that was logged but times.
"""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fire

from bench.order import WHERE, sample_data
from bench.timing import machine, write_results

WORKERS = (0, 1, 2)
NET = (
    "--num_layers=1", "--style_layers=1", "--num_heads=2", "--head_dim=24", "--head_width=16",
    "--style_dim=32",
)  # fmt: skip


def main(
    steps: int = 100, kills: int = 7, folder: str = "/tmp/tessera-bench", keep: bool = True
) -> None:
    """Measures and keeps bench/results/resume.json. Exit code 1 when the hashes differ."""
    root = Path(folder) / "resume"
    data = sample_data(root)
    shutil.rmtree(root / "runs", ignore_errors=True)
    rows: list[dict[str, Any]] = []
    for workers in WORKERS:
        name = f"straight-{workers}"
        start = time.monotonic()
        _succeed(_new(root, data, name, workers, steps))
        seconds = time.monotonic() - start
        cell: dict[str, Any] = {"workers": workers, "straight": _hash(root / "runs" / name)}
        cell["killed_after_steps"] = _kill(root, data, f"killed-{workers}", steps, kills, seconds)
        cell["resumed"] = _hash(root / "runs" / f"killed-{workers}")
        rows.append(cell)
    values = {row[name] for row in rows for name in ("straight", "resumed")}
    rows.append({"name": "different hashes", "value": len(values)})
    write_results("resume" if keep else "", {**machine(), "steps": steps}, rows)
    if len(values) > 1:
        raise SystemExit(1)


def _kill(root: Path, data: Path, name: str, steps: int, kills: int, seconds: float) -> list[int]:
    """Kills a run so many times and lets it end; returns the steps that its log had each time."""
    run, moments, rng = root / "runs" / name, [], random.Random(name)
    for number in range(kills):
        again = (run / "config.toml").is_file()
        command = (
            _again(root, data, name, number % 3) if again else _new(root, data, name, 2, steps)
        )
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        if rng.random() < 0.2:  # while it starts
            time.sleep(seconds * rng.uniform(0.1, 0.6))
        else:  # some steps on; at any moment of one, or of what is done behind it
            wanted = _logged(run) + rng.randrange(2, 2 * steps // kills)
            while process.poll() is None and _logged(run) < min(wanted, steps - 1):
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        moments.append(_logged(run))
    _succeed(_again(root, data, name, 1))
    return moments


def _new(root: Path, data: Path, name: str, workers: int, steps: int) -> list[str]:
    return [
        *_command(root, data, name, workers), f"--where={WHERE}", f"--steps={steps}",
        "--batch_size=8", "--threads=1", "--crop=random", "--least_scale=0.5",
        "--flip=0.5", "--caption_dropout=0.1", "--save_interval=4",
        "--sigma_rels=0.05,0.1", "--num_pairs=1", "--eval_size=2", "--sample.steps=1",
        "--gradient_accumulation_steps=3", "--seed=5", *NET,
    ]  # fmt: skip


def _again(root: Path, data: Path, name: str, workers: int) -> list[str]:
    return [*_command(root, data, name, workers), "--resume"]


def _command(root: Path, data: Path, name: str, workers: int) -> list[str]:
    return [
        sys.executable, "-m", "train.run", f"--name={name}", f"--runs={root / 'runs'}",
        f"--shards={data / 's'}", f"--manifests={data / 'm'}", f"--workers={workers}",
    ]  # fmt: skip


def _succeed(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


def _hash(run: Path) -> str:
    """Of what a run ended with, and of all that it logged but times."""
    last = sorted((run / "checkpoints").iterdir())[-1]
    digest = hashlib.sha256()
    for name in ("weights", "optimizer", "ema"):
        digest.update((last / f"{name}.safetensors").read_bytes())
    for record in _records(run):
        told = {k: v for k, v in record.items() if k not in ("wait_s", "step_s", "memory_mb")}
        digest.update(json.dumps(told, sort_keys=True).encode())
    if not any(record.get("substituted") for record in _records(run)):
        raise RuntimeError("the broken sample was not met: give more --steps")
    return digest.hexdigest()[:16]


def _logged(run: Path) -> int:
    return max((record["step"] for record in _records(run)), default=0)


def _records(run: Path) -> list[dict[str, Any]]:
    from train.log import read_log

    return read_log(run / "log.jsonl") if (run / "log.jsonl").exists() else []


if __name__ == "__main__":
    fire.Fire(main)
