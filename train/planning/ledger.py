"""Counts the bytes of tensors that have shapes and no values: what is live, and the most there was.

Tensors on torch's device `meta` compute nothing and hold nothing, but each has a storage of the
size that it would have. A storage counts from the operation that makes it until nothing refers to
it any more, autograd's saved tensors included, so recomputing and accumulating show by themselves.
"""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_BLOCK = 512  # bytes by which torch's allocator for GPUs counts


class Ledger(TorchDispatchMode):
    """Keeps account while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in _tensors(found):
            self.note(value)
        return found

    def note(self, tensor: torch.Tensor) -> None:
        """Counts a tensor's storage, once."""
        if tensor.device.type != "meta":
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = -(-storage.nbytes() // _BLOCK) * _BLOCK
        self._known[key] = weakref.finalize(storage, self._forget, key, size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _forget(self, key: int, size: int) -> None:
        self._known.pop(key, None)
        self.live -= size


def _tensors(found: Any) -> Iterator[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, (tuple, list)):
        for value in found:
            yield from _tensors(value)
