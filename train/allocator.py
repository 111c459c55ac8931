"""What the C library does with tensors that are freed, in a run on a CPU."""

import ctypes

from train.config import RunConfig

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE = 1 << 20  # bytes


def give_back_large_tensors(settings: RunConfig) -> bool:
    """Where a run on a CPU computes activations twice or takes batches in parts, to save memory:
    lets the system have each tensor of a megabyte or more back as soon as it is freed.

    glibc does that for tensors above a threshold which follows the largest one that was freed, up
    to 32 MB; what is smaller stays in its heap, whose holes then outweigh what was saved
    (mallopt(3), M_MMAP_THRESHOLD). A threshold of our own costs a step some time, so runs that save
    nothing keep glibc's.

    Returns whether that was done; other C libraries than glibc have no such threshold.
    """
    saves = settings.optim.gradient_checkpointing or settings.optim.gradient_accumulation_steps > 1
    if settings.device != "cpu" or not saves:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, _LARGE))
