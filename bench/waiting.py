"""What it costs that OpenMP's threads wait by spinning, when others want the cores too.

    python -m bench.waiting [--rounds=3] [--steps=8]

One and two processes, each with as many threads as there are cores, do forward and backward
passes of the small PixArt. Threads spin (libgomp's default), or sleep as the commands ask them to.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import fire

from bench.timing import machine, write_results

WEIGHTS = Path(__file__).parents[1] / "train/methods/style_adapter/weights/tiny/transformer"
WAYS = {"spinning": {}, "sleeping": {"OMP_WAIT_POLICY": "passive"}}


def main(rounds: int = 3, steps: int = 8, keep: str = "waiting") -> None:
    """Prints and keeps seconds of a pass, the median over rounds that take turns.

    Args:
        rounds: of every case.
        steps: passes that a process times.
        keep: name of the results, empty for none.
    """
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for at_once in (1, 2):
            for way, environment in WAYS.items():
                found.setdefault((way, at_once), []).append(_seconds(at_once, steps, environment))
    rows = []
    for at_once in (1, 2):
        spinning, sleeping = (statistics.median(found[way, at_once]) for way in WAYS)
        rows.append({
            "processes": at_once, "rounds": rounds, "ratio": round(spinning / sleeping, 2),
            "spinning_s": round(spinning, 3), "sleeping_s": round(sleeping, 3),
        })  # fmt: skip
    write_results(keep, machine(), rows)


def _seconds(at_once: int, steps: int, environment: dict[str, str]) -> float:
    """Of a pass, the mean over the processes of their medians."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", f"from bench.waiting import work; work({steps})"]
    running = [
        subprocess.Popen(command, env={**plain, **environment}, stdout=subprocess.PIPE, text=True)
        for _ in range(at_once)
    ]
    return statistics.mean(float(json.loads(p.communicate()[0])) for p in running)


def work(steps: int) -> None:
    """Prints the median seconds of a pass of this process."""
    import torch
    from diffusers import PixArtTransformer2DModel

    torch.set_num_threads(os.cpu_count() or 1)
    model = PixArtTransformer2DModel.from_pretrained(WEIGHTS, torch_dtype=torch.float32)
    noisy = torch.randn(16, 4, 32, 32)
    text = torch.randn(16, 20, model.config.caption_channels)
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        made = model(noisy, encoder_hidden_states=text, timestep=torch.full((16,), 500)).sample
        made.square().mean().backward()
        times.append(time.perf_counter() - start)
    print(statistics.median(times[1:]))


if __name__ == "__main__":
    fire.Fire(main)
