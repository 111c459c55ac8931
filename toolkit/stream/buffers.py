"""Memory for batches, used again: fresh memory costs a page fault every 4 KB."""

import math
import weakref

import numpy as np


class Buffers:
    """Lends arrays, and takes each back by itself once nothing refers to it any more."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}

    def take(self, shape: tuple[int, ...], room: int = 0) -> np.ndarray:
        """A uint8 array of that shape with any content. room: bytes of memory that it is given,
        where arrays of other shapes will have it after it. It stays the caller's own for as long as
        the array itself, or a tensor made of it, is alive; slices of it do not keep it."""
        needed = math.prod(shape)
        room = max(room, needed)
        free = self._free.setdefault(room, [])
        memory = free.pop() if free else np.empty(room, np.uint8)
        lent = memory[:needed].reshape(shape)
        weakref.finalize(lent, free.append, memory).atexit = False
        return lent
