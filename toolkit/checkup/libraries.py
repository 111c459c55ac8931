"""Findings from what the probe tried: torch and what is compiled against it, GPUs, weights."""

import importlib.metadata
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.checkup.finding import Finding
from toolkit.checkup.packages import is_at_least

_BOTH = "pip install --force-reinstall torch torchvision"
_FEW = 2  # users of weights that are named in a line
Probed = Mapping[str, Mapping[str, Any]]


def look_at_libraries(probed: Probed) -> Iterator[Finding]:
    """torch computes, torchvision's operators load, lpips and CLIP's processors import."""
    part = "libraries"
    facts = probed["torch"]
    if "error" in facts:
        yield Finding(part, "torch computes", "broken", facts["error"], _BOTH)
    else:
        built = f"built for CUDA {facts['cuda']}" if facts["cuda"] else "built for CPUs"
        yield Finding(part, "torch computes", "ok", f"{facts['version']}, {built}")
    what, facts = "torchvision fits torch", probed["operators"]
    if "error" in facts:
        told = f"torchvision.ops.nms fails: {facts['error']}{_told_pin()}"
        yield Finding(part, what, "broken", told, _BOTH)
    else:
        yield Finding(part, what, "ok", f"{facts['version']}: its compiled operators load")
    for step, what, mend in (
        ("lpips", "lpips imports", "pip install --force-reinstall lpips"),
        ("clip", "CLIP's processors", "pip install --force-reinstall transformers torchvision"),
    ):
        error = probed[step].get("error", "")
        found = error or "of transformers: they prepare a picture"
        if step == "lpips" and not error:
            found = "its networks need weights, see below"
        yield Finding(part, what, "broken" if error else "ok", found, mend if error else "")


def _told_pin() -> str:
    """Which torch the installed torchvision asks for, where it is not the one that is there."""
    try:
        asked = importlib.metadata.requires("torchvision") or []
        there = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
    for line in asked:
        match = re.match(r"torch\s*\(?(==|>=)\s*([0-9.]+)", line)
        if not match:
            continue
        is_met = is_at_least(there, match[2]) if match[1] == ">=" else there.startswith(match[2])
        return "" if is_met else f"; it asks for torch{match[1]}{match[2]}, there is {there}"
    return ""


def look_at_gpus(probed: Probed) -> Iterator[Finding]:
    """Name, memory, driver, compute capability and bf16 of each."""
    facts = probed["gpu"]
    if "error" in facts:
        yield Finding("gpu", "GPU", "broken", facts["error"], _BOTH)
        return
    driver = _driver()
    for number, card in enumerate(facts["cards"]):
        bf16 = "bf16" if card["bf16"] else "no bf16: --precision=fp16"
        yield Finding(
            "gpu", f"cuda:{number}", "ok",
            f"{card['name']}, {card['free'] / 1e9:.1f} of {card['total'] / 1e9:.1f} GB free, "
            f"compute capability {card['capability']}, {bf16}, driver {driver or 'unknown'}",
        )  # fmt: skip
    if facts["cards"]:
        return
    if facts["mps"]:
        yield Finding("gpu", "mps", "ok", "of this machine, with --device=mps")
    elif driver and not (probed["torch"].get("cuda")):
        told = f"there is one (driver {driver}), and torch is built without CUDA"
        yield Finding("gpu", "GPU", "warning", told, _BOTH)
    elif driver:
        built = probed["torch"]["cuda"]
        told = f"driver {driver} is there, and torch (CUDA {built}) does not see a GPU"
        yield Finding(
            "gpu", "GPU", "warning", told, "nvidia-smi; a newer driver, or an older torch"
        )
    else:
        yield Finding("gpu", "GPU", "missing", "none: everything runs on the CPU")


def _driver() -> str:
    """The version of NVIDIA's driver, "" where there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.split("\n") if done.returncode == 0 else []
    return lines[0].strip() if lines else ""


def look_at_weights(probed: Probed) -> Iterator[Finding]:
    """Pretrained weights, with what takes them."""
    facts = probed["weights"]
    if "error" in facts:
        yield Finding("weights", "pretrained weights", "warning", f"not known: {facts['error']}")
        return
    for one in facts["weights"]:
        users, more = one["used_by"][:_FEW], len(one["used_by"]) - _FEW
        told = ", ".join(users) + (f" and {more} more" if more > 0 else "")
        if one["place"]:
            found = f"{one['bytes'] / 1e6:,.0f} MB in {one['place']}, for {told}"
            yield Finding("weights", one["name"], "ok", found)
        else:
            found = f"{one['size']}, for {told}"
            yield Finding("weights", one["name"], "missing", found, one["command"])
