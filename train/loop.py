"""The training loop. It knows batches, losses and steps, and no method by name."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.stream.batch import Batch
from train.accumulate import Accumulator
from train.methods.api import Method
from train.numerics import Numerics
from train.optim import OptimConfig, rate_at, set_rate
from train.speed import Speed


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
    numerics: Numerics,
    first: int,
    total: int,
    after_step: Callable[[StepResult], bool],
    on_more_parts: Callable[[int], None] = lambda _: None,
) -> None:
    """Runs the steps `first` … `total` − 1, until `after_step`, called behind each, says no.
    on_more_parts: told the number of parts where batches are taken in more, for want of memory.

    Raises UserError when the loss is no longer a number.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scaler, limit = numerics.scaler, config.clip_grad_norm or float("inf")
    accumulator = Accumulator(config.gradient_accumulation_steps, on_more_parts)
    speed = Speed()
    method.module().train()
    with Progress(total, "train", "steps", done=first) as progress:
        for step in range(first, total):
            start = time.monotonic()
            batch = next(batches)
            waited = time.monotonic() - start
            batch = method.prepare(batch)
            rate = rate_at(config, step, total)
            set_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
            losses = accumulator.backward(method, batch, numerics)
            loss = (losses["loss"] * batch.weights).sum().item() / batch.weights.sum().item()
            if not math.isfinite(loss):
                raise UserError(f"the loss is {loss} at step {step + 1}: lower --optim.lr")
            scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=False)
            scaler.step(optimizer)  # leaves a step out whose scaled gradients overflow
            scaler.update()
            result = StepResult(
                step=step + 1,
                loss=loss,
                rate=rate,
                grad_norm=norm.item(),
                wait_s=waited,
                step_s=time.monotonic() - start,
                num_samples=len(batch),
                num_substituted=batch.num_substituted,
                logs=_by_task(batch, losses),
                cursor=dict(batch.cursor),
            )
            pace = speed.note(result.num_samples, result.wait_s, result.step_s)
            progress.advance(1, f"loss {loss:.4f}, {pace}")
            if not after_step(result):
                return


def _by_task(batch: Batch, values: dict[str, torch.Tensor]) -> dict[str, float]:
    means: dict[str, float] = {}
    for index, task in enumerate(batch.tasks):
        mine = batch.task == index
        if mine.any():
            means |= {f"{name}/{task}": v[mine].mean().item() for name, v in values.items()}
    return means
