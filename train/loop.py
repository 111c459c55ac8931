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
from train.parallel import Alone
from train.ranks import Ranks
from train.speed import Speed


@dataclass(frozen=True)
class StepResult:
    """What one step gave, on all ranks together. step: finished steps, so the first is 1. wait_s:
    seconds this rank spent waiting for data; step_s: seconds of the whole step. logs: means per
    task, `name/task`."""

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
    parallel: Alone | None = None,
) -> None:
    """Runs the steps `first` … `total` − 1, until `after_step`, called behind each, says no.
    on_more_parts: told the number of parts where batches are taken in more, for want of memory.
    parallel: how the work is spread over ranks.

    Raises UserError when the loss is no longer a number.
    """
    parallel = parallel or Alone()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scaler, limit = numerics.scaler, config.clip_grad_norm or float("inf")
    accumulator = Accumulator(config.gradient_accumulation_steps, on_more_parts, parallel)
    speed = Speed()
    method.module().train()
    is_shown = parallel.ranks.is_first
    with Progress(total, "train", "steps", done=first, is_shown=is_shown) as progress:
        for step in range(first, total):
            start = time.monotonic()
            batch = next(batches)
            waited = time.monotonic() - start
            batch = method.prepare(batch)
            if method.sees_whole_batches:
                batch = parallel.ranks.share_of(batch)
            rate = rate_at(config, step, total)
            set_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
            losses = accumulator.backward(method, batch, numerics)
            totals = _totals(batch, losses, parallel.ranks)
            loss = totals["loss"]
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
                grad_norm=parallel.whole({"norm": norm})["norm"].item(),
                wait_s=waited,
                step_s=time.monotonic() - start,
                num_samples=round(totals["samples"]),
                num_substituted=round(totals["substituted"]),
                logs={name: value for name, value in totals.items() if "/" in name},
                cursor=dict(batch.cursor),
            )
            pace = speed.note(result.num_samples, result.wait_s, result.step_s)
            progress.advance(1, f"loss {loss:.4f}, {pace}")
            if not after_step(result):
                return


def _totals(batch: Batch, values: dict[str, torch.Tensor], ranks: Ranks) -> dict[str, float]:
    """Of the batches of all ranks: weighted mean `loss`, numbers of `samples` and `substituted`
    ones, and means per task, `name/task`."""
    mine = [batch.task == index for index in range(len(batch.tasks))]
    weights = batch.weights.double()
    sums = [
        (values["loss"] * weights).sum(), weights.sum(),
        torch.tensor(len(batch)), torch.tensor(batch.num_substituted),
        *(of_task.sum() for of_task in mine),
        *(values[name][of_task].sum() for name in sorted(values) for of_task in mine),
    ]  # fmt: skip
    found = iter(ranks.sum(torch.stack([value.double() for value in sums])).tolist())
    weighted, weight = next(found), next(found)
    totals = {"loss": weighted / weight, "samples": next(found), "substituted": next(found)}
    counts = [next(found) for _ in mine]
    for name in sorted(values):
        for task, count in zip(batch.tasks, counts, strict=True):
            total = next(found)
            if count:
                totals[f"{name}/{task}"] = total / count
    return totals
