"""A run on tensors without values: its steps and its looks at pictures, and their memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch.autograd.graph import _engine_run_backward
from torch.fx.experimental import _config as symbolic

from toolkit.stream.batch import Batch
from train.config import OptimConfig, RunConfig
from train.methods import stylize_defaults
from train.methods.api import Method
from train.methods.needs import DataFacts
from train.numerics import Numerics, enable_gradient_checkpointing, place, precision_of
from train.optim import build_optimizer, regrouped, with_rates
from train.planning.example import batch_of
from train.planning.ledger import Ledger
from train.planning.stand_in import StandIn
from train.runs import build_method, needs_of

_LOOK_STEPS = 2  # more steps of a solver take no more memory


@dataclass(frozen=True)
class Peaks:
    """Bytes on the device. weights: of the method's module, trained ones among them; state: the
    optimiser's; step, held_out, pictures: the most at once in a training step and in the two looks,
    weights and all, None where that could not be found out; resting: between two steps. unknown:
    what could not be, a line each."""

    weights: int
    trained: int
    state: int
    resting: int
    step: int
    held_out: int | None
    pictures: int | None
    unknown: tuple[str, ...] = ()

    @property
    def peak(self) -> int:
        """The most at any time."""
        return max(self.step, self.held_out or 0, self.pictures or 0)


def dry_run(settings: RunConfig, facts: DataFacts) -> Peaks:
    """Builds a run's method and does with it what a run does. settings: settled."""
    is_cuda = torch.device(settings.device).type == "cuda"
    precision = precision_of(settings, has_bf16=is_cuda)
    numerics = Numerics("cpu", precision, torch.amp.GradScaler("cpu", enabled=False))
    dtype = None if precision == "fp32" else numerics.dtype
    ledger, stand_in = Ledger(), StandIn(dtype, is_cuda)
    method: Method = build_method(settings)
    trained_groups = with_rates(settings.optim, method.param_groups())
    if settings.optim.gradient_checkpointing:
        enable_gradient_checkpointing(method.module())
    assumes = symbolic.patch(meta_nonzero_assume_all_nonzero=True)  # type: ignore[attr-defined]
    with assumes, stand_in, ledger:
        place(method.module(), settings, numerics, "meta")
        for tensor in method.module().state_dict().values():
            ledger.note(tensor)
        sizes = [(p.requires_grad, p.nbytes) for p in method.module().parameters()]
        weights, trained = sum(n for _, n in sizes), sum(n for is_trained, n in sizes if is_trained)
        groups = regrouped(trained_groups, method.param_groups())
        is_small = settings.optim.optimizer == "adamw8bit"  # its kernels know no tensors like these
        plain = replace(settings.optim, optimizer="adamw")
        optimizer = None if is_small else build_optimizer(plain, groups)
        unknown: list[str] = []

        def most(work: Callable[[], object]) -> int:
            ledger.peak = ledger.live
            work()
            return ledger.peak

        batch = batch_of(settings, facts, needs_of(settings).roles, settings.data.batch_size)
        looks = {"held_out": partial(_held_out, method, settings, facts, stand_in)}
        if settings.sample.sample_every:
            looks["pictures"] = partial(_look, method, settings, facts, stand_in)
        for what, look in list(looks.items()):
            try:
                look()  # loads what is loaded when it is first needed, and stays
            except Exception as error:
                del looks[what]
                unknown.append(f"{what}: {type(error).__name__}: {str(error).splitlines()[0]}")
        train = partial(_step, method, settings.optim, optimizer, batch, stand_in)
        train()
        resting, step = ledger.live, most(train)
        seen = {what: most(look) for what, look in looks.items()}  # beside gradients and state
    state = 2 * trained if optimizer else trained // 2
    extra = state if is_small else 0
    held_out, pictures = (
        seen[what] + extra if what in seen else None for what in ("held_out", "pictures")
    )
    return Peaks(
        weights, trained, state, resting + extra, step + extra, held_out, pictures, tuple(unknown)
    )


def _step(
    method: Method, config: OptimConfig, optimizer: Any, batch: Any, stand_in: StandIn
) -> None:
    parameters = [p for p in method.module().parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.grad = None
    count = min(max(config.gradient_accumulation_steps, 1), len(batch))
    largest = -(-len(batch) // count)
    edges = [0, largest, 2 * largest] if count > 1 else [0, largest]  # later parts are no different
    method.module().train()
    for start, stop in pairwise(edges):
        part = _moved(batch.part(start, stop))
        with stand_in.autocast():
            losses = method.training_loss(part).per_sample.float()
        loss = (losses * part.weights).sum() / len(batch)
        with stand_in.recomputing():
            _backward(loss)
        del part, losses, loss
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_grad_norm or 1e9, foreach=False)
    if optimizer:
        optimizer.step()


def _backward(loss: torch.Tensor) -> None:
    """As `loss.backward()`, which is a function of torch, so that what is recomputed inside of it
    would pass by the stand-in."""
    _engine_run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (),
        allow_unreachable=True, accumulate_grad=True,
    )  # fmt: skip


def _moved(batch: Batch) -> Batch:
    """On the device, but for what methods make decisions by."""
    return replace(batch.to("meta"), task=batch.task)


@torch.no_grad()
def _held_out(method: Method, settings: RunConfig, facts: DataFacts, stand_in: StandIn) -> None:
    batch = batch_of(settings, facts, needs_of(settings).roles, settings.sample.eval_size)
    method.module().eval()
    with stand_in.autocast():
        method.training_loss(_moved(batch))


@torch.no_grad()
def _look(method: Method, settings: RunConfig, facts: DataFacts, stand_in: StandIn) -> None:
    needs = needs_of(settings)
    roles = tuple(dict.fromkeys((*needs.roles, *needs.inputs)))
    batch = _moved(batch_of(settings, facts, roles, settings.sample.num_pairs))
    how = replace(stylize_defaults(settings.method, settings.method_config), steps=_LOOK_STEPS)
    method.module().eval()
    with stand_in.autocast():
        method.columns(batch, how)
