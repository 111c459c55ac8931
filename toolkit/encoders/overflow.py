"""Autoencoders whose half precision overflows, as that of SDXL does in fp16."""

from collections.abc import Callable
from typing import Any

import torch


def in_full_range(
    model: Any, apply: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor
) -> tuple[torch.Tensor, bool]:
    """What `apply` makes of float32 `values` in the model's precision; in fp32 where the model asks
    for it in fp16 (`force_upcast`), or where the result is not finite. Float32, and whether it was
    made a second time."""
    dtype = model.dtype
    must_upcast = dtype == torch.float16 and model.config.force_upcast
    if not must_upcast:
        found = apply(values.to(dtype)).float()
        if dtype == torch.float32 or bool(found.isfinite().all()):
            return found, False
    torch.nn.Module.to(model, torch.float32)  # diffusers' own would warn
    try:
        return apply(values).float(), not must_upcast
    finally:
        torch.nn.Module.to(model, dtype)
