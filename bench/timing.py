"""Paired timings: A and B take turns, and the ratio of each pair is kept."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def wall_s(command: Sequence[str]) -> float:
    """Seconds that a command takes as a whole process. Raises RuntimeError if it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def in_process(module: str, *arguments: str) -> dict[str, Any]:
    """What a module, started with these arguments, prints as JSON in its last line."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def pairs(
    first: Callable[[], float], second: Callable[[], float], rounds: int
) -> list[tuple[float, float]]:
    """`rounds` pairs of seconds after one pair of warm-up; who begins alternates."""
    first(), second()
    found = []
    for number in range(rounds):
        if number % 2:
            later = second()
            found.append((first(), later))
        else:
            earlier = first()
            found.append((earlier, second()))
    return found


def summary(name: str, found: list[tuple[float, float]], count: int) -> dict[str, Any]:
    """Rates and their ratio (ours over theirs) of pairs of seconds for `count` units."""
    ratios = sorted(theirs / ours for ours, theirs in found)
    return {
        "name": name,
        "ours_per_s": round(statistics.median(count / ours for ours, _ in found), 1),
        "theirs_per_s": round(statistics.median(count / theirs for _, theirs in found), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "pairs": len(found),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def write_results(name: str, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Prints the rows and keeps them as bench/results/NAME.json, unless the name is empty."""
    for row in rows:
        print(json.dumps(row))
    if not name:
        return
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    print(f"kept in {path}")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
