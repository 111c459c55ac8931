"""How a method's work is spread over the ranks of a run: as replicas whose gradients are averaged
(DDP, Li et al. 2020, arXiv 2006.15704), or with every weight in pieces, one on each rank (FSDP2,
`torch.distributed.fsdp.fully_shard`).
"""

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

from toolkit.core.errors import UserError
from train.config import RunConfig
from train.methods.api import Method
from train.ranks import Ranks

Found = TypeVar("Found")
_LEAST_UNIT = 10_000  # weights that are worth a message of their own


class _Root(nn.Module):
    """A module whose forward pass is any work with the weights of another one. A method uses its
    module in many ways; DDP and FSDP see one."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


class Alone:
    """One rank: nothing to spread. gradient_scale: what a loss is multiplied by, since gradients
    are averaged over ranks and are to be summed."""

    def __init__(self, ranks: Ranks = Ranks()):  # noqa: B008 - frozen
        self.ranks, self.gradient_scale = ranks, float(ranks.world)

    def train(self, work: Callable[[], Found]) -> Found:
        """Does work that gradients flow through. It returns tensors, or mappings of them."""
        return work()

    def look(self, work: Callable[[], Found]) -> Found:
        """Does work without gradients; all ranks do the same."""
        return work()

    def adding_up(self) -> AbstractContextManager[Any]:
        """Inside, gradients stay this rank's own."""
        return nullcontext()

    def whole(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tensors with all their values; all ranks ask for the same."""
        return dict(state)

    def pieces(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Of a whole tensor what this rank keeps of `like`."""
        return values


class Replicas(Alone):
    """DDP. Gradients are averaged while the backward pass runs; each step uses each trained weight,
    as a method promises."""

    def __init__(self, module: nn.Module, ranks: Ranks):
        super().__init__(ranks)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a name that torch 2.6 needs
            self._ddp = nn.parallel.DistributedDataParallel(
                _Root(module), broadcast_buffers=False, gradient_as_bucket_view=True
            )

    def train(self, work: Callable[[], Found]) -> Found:
        """As `Alone.train`."""
        found: Found = self._ddp(work)
        return found

    def adding_up(self) -> AbstractContextManager[Any]:
        """As `Alone.adding_up`."""
        found: AbstractContextManager[Any] = self._ddp.no_sync()
        return found


class Pieces(Alone):
    """FSDP2. Each rank keeps a piece of every weight, frozen or not, of its gradient and of its
    optimiser's state; a block's weights are put together while it works."""

    def __init__(self, module: nn.Module, ranks: Ranks, device: str):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor import DTensor

        super().__init__(ranks)
        mesh = init_device_mesh(torch.device(device).type, (ranks.world,))
        for unit in units(module):
            fully_shard(unit, mesh=mesh)
        # what a module has under two names, one of them in a block
        of_units: set[nn.Parameter] = {p for p in module.parameters() if isinstance(p, DTensor)}
        # not kept whole behind a look at pictures, for a step would not change what is kept
        self._root: Any = fully_shard(
            _Root(module), mesh=mesh, reshard_after_forward=True, ignored_params=of_units
        )
        module.to(device)  # what no unit took: buffers

    def train(self, work: Callable[[], Found]) -> Found:
        """As `Alone.train`."""
        found: Found = self._root(work)
        return found

    def look(self, work: Callable[[], Found]) -> Found:
        """As `Alone.look`."""
        return self.train(work)

    def adding_up(self) -> AbstractContextManager[Any]:
        """As `Alone.adding_up`: each rank would need whole gradients for that, so they are summed
        after each part."""
        return nullcontext()

    def whole(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `Alone.whole`."""
        from torch.distributed.tensor import DTensor

        return {
            name: value.full_tensor() if isinstance(value, DTensor) else value
            for name, value in state.items()
        }

    def pieces(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """As `Alone.pieces`."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor) or not values.ndim:  # a count of steps is no weight
            return values
        return distribute_tensor(values.to(like.device), like.device_mesh, like.placements)


def units(module: nn.Module) -> list[nn.Module]:
    """The blocks whose weights are put together at a time, inner ones first: those that diffusers
    and transformers name as whole, or else the members of lists of modules."""
    inner_first = list(reversed(list(module.modules())))
    whole = {
        name for part in inner_first for name in getattr(part, "_no_split_modules", None) or ()
    }
    found = [part for part in inner_first if type(part).__name__ in whole]
    if not found:
        lists = [part for part in inner_first if isinstance(part, nn.ModuleList)]
        found = [block for members in lists for block in members if list(block.children())]
    return [b for b in found if sum(p.numel() for p in b.parameters()) >= _LEAST_UNIT]


def spread(method: Method, settings: RunConfig, ranks: Ranks) -> Alone:
    """Spreads a method over the ranks; afterwards its parameters may be others."""
    if ranks.world == 1:
        return Alone()
    if settings.ranks.parallel == "ddp":
        return Replicas(method.module(), ranks)
    return Pieces(method.module(), ranks, settings.device)


def check_spread(settings: RunConfig, ranks: Ranks) -> None:
    """Raises UserError for settings that several ranks do not go with."""
    if ranks.world == 1:
        return
    texts = getattr(settings.method_config, "text_device", "")
    if texts.startswith("cuda:"):
        raise UserError(
            f"--text_device={texts}: one card for the texts of {ranks.world} ranks; take cpu, or "
            "leave it away and each rank has them on its own"
        )
    if settings.ranks.parallel != "fsdp":
        return
    if settings.compile:
        raise UserError("--compile does not go with --parallel=fsdp: leave one of them away")
    if settings.optim.optimizer != "adamw":
        raise UserError("--optim.optimizer=adamw8bit does not go with --parallel=fsdp: take adamw")
