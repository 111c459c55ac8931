"""Training a LoRA beside Stable Diffusion 2.1, beside the loop of diffusers' example script.

    python -m bench.dreambooth [--steps=60] [--rounds=3] [--device=cuda]

512 pixels, rank 32, one picture of the style and one of the prior a step, ten and forty JPEGs of
1,024 pixels. Theirs is `bench.plain_dreambooth`; ours `train.run` with the preset `safe`, its data
packed before. Each is a process of its own, by turns; the first steps are not counted. Weights are
random and of full size (5 GB). --small is a rehearsal on a CPU.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import fire

from bench.pictures import write_jpegs
from bench.timing import in_process, machine, write_results

WARM = 10


def main(
    steps: int = 60, rounds: int = 3, device: str = "cuda", precision: str = "bf16",
    small: bool = False, folder: str = "/tmp/tessera-bench", keep: str = "dreambooth",
) -> None:  # fmt: skip
    """Measures and keeps bench/results/KEEP.json.

    Args:
        steps: that are counted, behind ten that are not.
        rounds: processes of each, by turns.
        device, precision: of the arithmetic.
        small: a tiny network instead, for a rehearsal.
        folder: for pictures and random weights.
        keep: name of the results, empty for none.
    """
    root = Path(folder) / ("dreambooth-small" if small else "dreambooth")
    backbone = _backbone(root / "sd", small)
    _data(root, 1024 if not small else 64)
    size = 32 if small else 512
    theirs_asked = {
        "backbone": str(backbone), "instances": str(root / "raw/styles"), "rank": 32,
        "prior": str(root / "raw/prior"), "device": device, "precision": precision, "size": size,
        "steps": steps, "warm": WARM, "threads": 2,
    }  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        for who in ("ours", "theirs") if number % 2 == 0 else ("theirs", "ours"):
            if who == "theirs":
                asked = json.dumps(theirs_asked)
                found[who].append(in_process("bench.plain_dreambooth", asked))
            else:
                found[who].append(_ours(root, backbone, steps, device, precision, size))
    ratios = sorted(
        a["steps_per_s"] / b["steps_per_s"]
        for a, b in zip(found["ours"], found["theirs"], strict=True)
    )
    rows = [{
        "name": who, "steps_per_s": round(statistics.median(r["steps_per_s"] for r in rates), 3),
        "memory_gb": max(r["memory_gb"] for r in rates),
    } for who, rates in found.items()]  # fmt: skip
    rows[0] |= {
        "faster": round(statistics.median(ratios), 3),
        "range": [round(ratios[0], 3), round(ratios[-1], 3)],
    }
    print(rows)
    about = {**machine(), "device": found["theirs"][0]["device_name"], "precision": precision}
    write_results(keep, about, rows)


def _ours(
    root: Path, backbone: Path, steps: int, device: str, precision: str, size: int
) -> dict[str, Any]:
    shutil.rmtree(root / "runs", ignore_errors=True)
    command = [
        sys.executable, "-m", "train.run", "dreambooth_lora", "--config=safe", "--name=bench",
        f"--backbone={backbone}", f"--device={device}", f"--precision={precision}",
        f"--steps={steps + WARM}", "--batch_size=2", "--sample_every=0", "--eval_every=100000",
        "--eval_size=1", "--save_interval=100000", f"--image_size={size}",
        f"--runs={root / 'runs'}", f"--shards={root / 'shards'}",
        f"--manifests={root / 'manifests'}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    log = (root / "runs/bench/log.jsonl").read_text().splitlines()
    counted = [row for row in map(json.loads, log) if row.get("step", 0) > WARM and "step_s" in row]
    seconds = sum(row["step_s"] for row in counted)
    memory = max(row["memory_mb"] for row in counted) / 1000 if device != "cpu" else 0.0
    return {"steps_per_s": len(counted) / seconds, "memory_gb": round(memory, 2)}


def _data(root: Path, size: int) -> None:
    """raw/, and the same packed as the datasets fewshot and prior."""
    if (root / "manifests/prior/dataset.json").exists():
        return
    for name, count in (("styles/03", 10), ("prior/thing", 40)):
        write_jpegs(root / "raw" / name, count, size)
    places = [f"--shards={root / 'shards'}", f"--manifests={root / 'manifests'}"]
    for name, source, flags in (
        ("fewshot", "styles", ()), ("prior", "prior", ("--caption_from=folder",)),
    ):  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "toolkit.pack", "folder", f"--src={root / 'raw' / source}",
             f"--name={name}", *flags, *places],
            check=True, capture_output=True, env={**os.environ},
        )  # fmt: skip


def _backbone(place: Path, small: bool) -> Path:
    """A pipeline of random weights in the hub's layout, unless it is there."""
    if (place / "model_index.json").exists():
        return place
    from tests.full_size import stable_diffusion_2_1
    from tests.twins import stable_diffusion

    return stable_diffusion(place) if small else stable_diffusion_2_1(place)


if __name__ == "__main__":
    fire.Fire(main)
