"""The gradients of a batch, worked through in parts: as many as are asked for, or as fit."""

from collections.abc import Callable
from itertools import pairwise

import torch

from toolkit.stream.batch import Batch
from train.methods.api import Method
from train.numerics import Numerics

AUTO = 0


class Accumulator:
    """Works through batches in a number of parts.

    Args:
        num_parts: it; with AUTO, 1, and twice as many whenever memory does not suffice.
        on_more: called with the new number.
    """

    def __init__(self, num_parts: int, on_more: Callable[[int], None]):
        self.num_parts, self._is_auto = max(num_parts, 1), num_parts == AUTO
        self._on_more = on_more

    def backward(self, method: Method, batch: Batch, numerics: Numerics) -> dict[str, torch.Tensor]:
        """As `backward`. Raises what torch raises where one sample is too much."""
        while True:
            try:
                return backward(method, batch, numerics, self.num_parts)
            except RuntimeError as error:
                if not (self._is_auto and self.num_parts < len(batch) and _is_memory(error)):
                    raise
            # only here, behind the exception, is what its frames held free again
            for parameter in method.module().parameters():
                parameter.grad = None
            if next(method.module().parameters()).device.type == "cuda":
                torch.cuda.empty_cache()
            self.num_parts = min(2 * self.num_parts, len(batch))
            self._on_more(self.num_parts)


def backward(
    method: Method, batch: Batch, numerics: Numerics, num_parts: int = 1
) -> dict[str, torch.Tensor]:
    """Adds the gradients of a batch's mean loss, worked through in parts.

    Each part counts by its weights in the whole batch, so the number of parts changes nothing but
    the order of additions.

    Returns:
        `loss` and the method's logs, each float [N] on the CPU.
    """
    total = batch.weights.sum().item()
    device = next(method.module().parameters()).device
    edges = [len(batch) * number // num_parts for number in range(num_parts + 1)]
    found: list[dict[str, torch.Tensor]] = []
    for start, stop in pairwise(edges):
        part = batch.part(start, stop).to(device)
        with numerics.autocast():
            out = method.training_loss(part)
        losses = out.per_sample.float()
        loss = (losses * part.weights).sum() / total
        numerics.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        found.append({"loss": losses.detach(), **out.logs})
    return {name: torch.cat([values[name] for values in found]).cpu() for name in found[0]}


def _is_memory(error: RuntimeError) -> bool:
    """Whether torch found no memory; on a CPU only its words say so."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
