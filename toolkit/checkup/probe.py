"""A process of its own that tries what may crash it, a step after the other.

`python -m toolkit.checkup.probe STEP …` says on stdout before each step that it begins, and behind
it what came of it, a JSON object a line. A broken build of a library can end the process within a
step: `try_out` starts another one for those that are left. So the caller imports nothing heavy.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from toolkit.core.errors import one_line

STEPS = ("torch", "operators", "lpips", "clip", "gpu", "weights")
ROOMS = (
    "toolkit.encoders.inventory",
    "toolkit.teachers.inventory",
    "train.inventory",
    "eval.features.inventory",
)
"""Modules with `wanted()`, see `toolkit.encoders.inventory`; asked by name, since this package
stands below some of them."""
_LONGEST_S = 300.0


def try_out(steps: Sequence[str] = STEPS, seconds: float = _LONGEST_S) -> dict[str, dict[str, Any]]:
    """What came of each step: its facts, or under `error` why there are none.

    seconds: after which a process that says nothing more is given up.
    """
    found: dict[str, dict[str, Any]] = {}
    left = list(steps)
    while left:
        lines, ending = _started(left, seconds)
        begun = left[0]
        for line in lines:
            begun = line["step"]
            if "facts" in line:
                found[begun] = line["facts"]
        if begun not in found:
            found[begun] = {"error": ending}
        left = [step for step in left if step not in found]
    return found


def _started(steps: list[str], seconds: float) -> tuple[list[dict[str, Any]], str]:
    """Lines that a process said, and how it ended."""
    command = [sys.executable, "-m", "toolkit.checkup.probe", *steps]
    # so that nothing is downloaded, whatever a library thinks
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
            env=env, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        out = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        return _read(out), f"did not end within {seconds:.0f} s"
    if done.returncode < 0:
        ending = f"killed by {signal.Signals(-done.returncode).name}"
    else:
        last = done.stderr.strip().splitlines()[-1:]
        ending = f"ended with {done.returncode} {one_line(' '.join(last), 120)}".strip()
    return _read(done.stdout), ending


def _read(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # a library prints
            continue
        if isinstance(record, dict) and "step" in record:
            found.append(record)
    return found


def torch_itself() -> dict[str, Any]:
    """It computes. CUDA: the version that it was built for."""
    import torch

    assert float(torch.ones(3, 3).matmul(torch.ones(3, 1)).sum()) == 9
    return {"version": torch.__version__, "cuda": torch.version.cuda}


def operators() -> dict[str, Any]:
    """torchvision's compiled part: of two boxes of which one hides the other, one is kept."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
    assert kept.tolist() == [0], kept
    return {"version": torchvision.__version__}


def lpips() -> dict[str, Any]:
    """The package can be imported."""
    import lpips as package

    return {"version": getattr(package, "__version__", "")}


def clip() -> dict[str, Any]:
    """What prepares pictures and texts for CLIP can be imported, and works."""
    import numpy as np
    from transformers import CLIPImageProcessor, CLIPTokenizer

    seen = CLIPImageProcessor()(np.zeros((8, 8, 3), np.uint8), return_tensors="np")
    return {"shape": list(seen["pixel_values"].shape), "tokenizer": CLIPTokenizer.__name__}


def gpu() -> dict[str, Any]:
    """What torch computes on besides the CPU. capability: of CUDA's architecture."""
    import torch

    cards = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        facts = torch.cuda.get_device_properties(number)
        with torch.cuda.device(number):
            total_of = float(torch.ones(8, 8, device="cuda").sum())
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        assert total_of == 64
        cards.append({
            "name": facts.name, "free": free, "total": total,
            "capability": f"{facts.major}.{facts.minor}", "bf16": bf16,
        })  # fmt: skip
    return {"cards": cards, "mps": torch.backends.mps.is_available()}


def weights() -> dict[str, Any]:
    """Which weights there are to get. Nothing is loaded, nothing asked for elsewhere."""
    inventory = importlib.import_module(ROOMS[0])
    found = []
    for one in inventory.rooms_of(ROOMS):
        size = inventory.bytes_of(one.place) if one.place else None
        found.append({**asdict(one), "bytes": size})
    return {"weights": found}


def main(steps: Sequence[str]) -> None:
    """Tries the steps."""
    works = dict(zip(STEPS, (torch_itself, operators, lpips, clip, gpu, weights), strict=True))
    for step in steps:
        print(json.dumps({"step": step}), flush=True)
        try:
            facts = works[step]()
        except Exception as error:  # whatever a broken library raises
            facts = {"error": f"{type(error).__name__}: {one_line(error, 200)}"}
        print(json.dumps({"step": step, "facts": facts}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
