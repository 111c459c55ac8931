"""Number formats inside a run's autocast."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import _get_current_function_mode_stack


def in_full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, nothing is under autocast, nor under what stands for it where a run is planned."""
    for mode in _get_current_function_mode_stack():
        if hasattr(mode, "paused"):
            paused: AbstractContextManager[Any] = mode.paused()
            return paused
    return torch.autocast(device.type, enabled=False)
