"""The training loop. It knows batches, losses and steps, and no method by name."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.stream.batch import Batch
from train.methods.api import Method
from train.optim import OptimConfig, rate_at, set_rate


@dataclass(frozen=True)
class StepResult:
    """What one step gave. step: finished steps, so the first is 1. wait_s: seconds spent waiting
    for data; step_s: seconds of the whole step. logs: means per task, `name/task`."""

    step: int
    loss: float
    rate: float
    grad_norm: float
    wait_s: float
    step_s: float
    num_samples: int
    num_substituted: int
    logs: dict[str, float]
    cursor: dict[str, Any]


def train(
    method: Method,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    config: OptimConfig,
    first: int,
    total: int,
    after_step: Callable[[StepResult], None],
) -> None:
    """Runs the steps `first` … `total` − 1, calling `after_step` behind each.

    Raises UserError when the loss is no longer a number.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    device = parameters[0].device
    method.module().train()
    with Progress(total, "train", "steps", done=first) as progress:
        for step in range(first, total):
            start = time.monotonic()
            batch = next(batches).to(device)
            waited = time.monotonic() - start
            rate = rate_at(config, step, total)
            set_rate(optimizer, rate)
            out = method.training_loss(batch)
            loss = (out.per_sample * batch.weights).sum() / batch.weights.sum()
            if not torch.isfinite(loss):
                raise UserError(f"the loss is {loss.item()} at step {step + 1}: lower --optim.lr")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            limit = config.clip_grad_norm or float("inf")
            norm = torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=False)
            optimizer.step()
            result = StepResult(
                step=step + 1,
                loss=loss.item(),
                rate=rate,
                grad_norm=norm.item(),
                wait_s=waited,
                step_s=time.monotonic() - start,
                num_samples=len(batch),
                num_substituted=batch.num_substituted,
                logs=_by_task(batch, {"loss": out.per_sample.detach(), **out.logs}),
                cursor=dict(batch.cursor),
            )
            progress.advance(1, f"loss {result.loss:.4f}")
            after_step(result)


def _by_task(batch: Batch, values: dict[str, torch.Tensor]) -> dict[str, float]:
    means: dict[str, float] = {}
    for index, task in enumerate(batch.tasks):
        mine = batch.task == index
        if mine.any():
            means |= {f"{name}/{task}": v[mine].mean().item() for name, v in values.items()}
    return means
