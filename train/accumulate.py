"""The gradients of a batch, worked through in parts: as many as are asked for, or as fit."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import pairwise

import torch

from toolkit.stream.batch import Batch
from train.methods.api import Method
from train.numerics import Numerics
from train.parallel import Alone

AUTO = 0


class Accumulator:
    """Works through batches in a number of parts.

    Args:
        num_parts: it; with AUTO, 1, and twice as many whenever memory does not suffice, unless
            there are several ranks, which would have to know of each other's want.
        on_more: called with the new number.
        parallel: how the work is spread over ranks.
    """

    def __init__(
        self, num_parts: int, on_more: Callable[[int], None], parallel: Alone | None = None
    ):
        self._parallel = parallel or Alone()
        is_auto = num_parts == AUTO and self._parallel.ranks.world == 1
        self.num_parts, self._is_auto, self._on_more = max(num_parts, 1), is_auto, on_more

    def backward(self, method: Method, batch: Batch, numerics: Numerics) -> dict[str, torch.Tensor]:
        """As `backward`. Raises what torch raises where one sample is too much."""
        while True:
            try:
                return backward(method, batch, numerics, self.num_parts, self._parallel)
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
    method: Method,
    batch: Batch,
    numerics: Numerics,
    num_parts: int = 1,
    parallel: Alone | None = None,
) -> dict[str, torch.Tensor]:
    """Adds the gradients of the mean loss of a global batch, of which this rank has `batch`, worked
    through in parts.

    Each part counts by its weights in the whole of all ranks, so neither the number of parts nor
    that of ranks changes anything but the order of additions.

    Returns:
        `loss` and the method's logs, each float [N] on the CPU, of this rank's samples.
    """
    parallel = parallel or Alone()
    ranks = parallel.ranks
    total = ranks.sum(batch.weights.double().sum()).item() / parallel.gradient_scale
    if num_parts > 1:  # as many on each rank, of which one may have fewer samples
        num_parts = min(num_parts, -ranks.most(-len(batch)))
    device = next(method.module().parameters()).device
    edges = [len(batch) * number // num_parts for number in range(num_parts + 1)]
    found: list[dict[str, torch.Tensor]] = []
    for start, stop in pairwise(edges):
        part = batch.part(start, stop).to(device)
        with nullcontext() if stop == len(batch) else parallel.adding_up():
            losses, logs = parallel.train(partial(_losses, method, part, numerics))
            loss = (losses * part.weights).sum() / total
            numerics.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        found.append({"loss": losses.detach(), **logs})
    return {name: torch.cat([values[name] for values in found]).cpu() for name in found[0]}


def _losses(
    method: Method, batch: Batch, numerics: Numerics
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    with numerics.autocast():
        out = method.training_loss(batch)
    return out.per_sample.float(), dict(out.logs)


def _is_memory(error: RuntimeError) -> bool:
    """Whether torch found no memory; on a CPU only its words say so."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
