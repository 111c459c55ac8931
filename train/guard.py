"""Keeps a run from being killed for want of memory: less is decoded ahead, then it stops."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from toolkit.core.memory import MemoryWatch, relieve
from toolkit.encoders.device import memory_of
from toolkit.stream.batch import Batch


class Feed(Iterator[Batch]):
    """The batches of a loader, which can be made to come with less ahead of them."""

    def __init__(self, loader: Any):
        self._loader = loader
        self._batches = iter(loader)

    def __next__(self) -> Batch:
        return next(self._batches)

    def slow_down(self) -> bool:
        """Goes on with fewer threads and nothing ahead; the batches stay the same."""
        lowered: bool = self._loader.slow_down()
        if lowered:
            self._batches.close()
            self._batches = iter(self._loader)
        return lowered


class Guard:
    """Looks at memory behind each step.

    Args:
        limit: share of any memory above which there is pressure; 1 and more for none.
        feed: is slowed down first.
        device: the run's, whose memory counts too.
        pause_s: seconds to wait for memory before the run stops.
    """

    def __init__(self, limit: float, feed: Feed, device: str, pause_s: float = 30.0):
        self._device, self._feed, self._pause_s = torch.device(device), feed, pause_s
        self._watch = MemoryWatch(limit, more=partial(memory_of, self._device))

    def stops(self) -> str:
        """Why the run has to stop; nothing where it may go on."""
        return relieve(self._watch, self._lower, self._pause_s)

    def _lower(self) -> bool:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return self._feed.slow_down()
