"""Memory for batches, used again: fresh memory costs a page fault every 4 KB."""

import weakref

import numpy as np


class Buffers:
    """Lends arrays, and takes each back by itself once nothing refers to it any more."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, ...], list[np.ndarray]] = {}

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """A uint8 array of that shape with any content. It stays the caller's own for as long as
        the array itself, or a tensor made of it, is alive; slices of it do not keep it."""
        free = self._free.setdefault(shape, [])
        memory = free.pop() if free else np.empty(shape, np.uint8)
        lent = memory.view()
        weakref.finalize(lent, free.append, memory).atexit = False
        return lent
