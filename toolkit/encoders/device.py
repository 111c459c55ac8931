"""Which device a run or an encoder computes on, and its memory."""

import os

import torch

from toolkit.core.errors import UserError
from toolkit.core.memory import Memory


def usable_device(name: str) -> torch.device:
    """The device called `name`: cpu, cuda, cuda:1 … Raises UserError when it is not there."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        if torch.backends.mps.is_available():
            there.append("mps")
        raise UserError(
            f"--device={name} cannot be used here: choose one of {', '.join(['cpu', *there])}"
        ) from None
    return device


def own_device(name: str) -> str:
    """The device of this process: auto is a GPU where there is one, and under torchrun each process
    has a GPU of its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK') or 0}" if name == "cuda" else name


def memory_of(device: torch.device) -> list[Memory]:
    """A GPU's memory: the most that was in use since the last look, without what torch holds but
    does not use. Of a CPU none: it is the host's."""
    if device.type != "cuda":
        return []
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    own = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return [Memory(f"GPU {device.index or 0}", others + own, total)]
