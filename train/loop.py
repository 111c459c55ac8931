"""The training loop. It knows batches, losses and steps, and no method by name."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.stream.batch import Batch
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
) -> None:
    """Runs the steps `first` … `total` − 1, until `after_step`, called behind each, says no.

    Raises UserError when the loss is no longer a number.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scaler, limit = numerics.scaler, config.clip_grad_norm or float("inf")
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
            losses = backward(method, batch, numerics, config.gradient_accumulation_steps)
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


def _by_task(batch: Batch, values: dict[str, torch.Tensor]) -> dict[str, float]:
    means: dict[str, float] = {}
    for index, task in enumerate(batch.tasks):
        mine = batch.task == index
        if mine.any():
            means |= {f"{name}/{task}": v[mine].mean().item() for name, v in values.items()}
    return means
