"""Which device a run or an encoder computes on."""

import torch

from toolkit.core.errors import UserError


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
