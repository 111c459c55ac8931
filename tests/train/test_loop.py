"""The loop: parts of a batch, scaled losses, and when it ends."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.train.test_numerics import numerics
from tests.train.toys import Toy, batch_at
from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch
from train.accumulate import backward
from train.config import OptimConfig
from train.loop import StepResult, train
from train.optim import build_optimizer, with_rates


def gradients(num_parts: int, precision: str = "fp32", scale: float | None = None) -> tuple:
    method, settled = Toy(), numerics(precision)
    if scale:
        settled.scaler.scale(torch.ones(1))  # it begins when it is first used
        settled.scaler.update(scale)
    found = backward(method, batch_at(0), settled, num_parts)
    return found, [p.grad for p in method.module().parameters()]


@pytest.mark.parametrize("num_parts", [2, 3, 8])
def test_parts_of_a_batch_add_up_to_the_whole(num_parts: int) -> None:
    whole, expected = gradients(1)
    found, parts = gradients(num_parts)
    assert torch.equal(found["size"], whole["size"])  # of the noise: the same for each sample
    torch.testing.assert_close(found["loss"], whole["loss"])
    for a, b in zip(parts, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_scaled_loss_gives_scaled_gradients() -> None:
    _, once = gradients(2, "fp16", scale=256.0)
    _, twice = gradients(2, "fp16", scale=512.0)
    for a, b in zip(once, twice, strict=True):
        assert torch.equal(a * 2, b)


def forever(position: int = 0) -> Iterator[Batch]:
    for number in itertools.count():
        yield batch_at(position + 8 * number)


def run(steps: int, precision: str = "fp32", stop_at: int = 0, **optim: Any) -> tuple:
    method, results, config = Toy(), list[StepResult](), OptimConfig(**optim)
    optimizer = build_optimizer(config, with_rates(config, method.param_groups()))

    def after_step(result: StepResult) -> bool:
        results.append(result)
        return result.step != stop_at

    train(method, optimizer, forever(), config, numerics(precision), 0, steps, after_step)
    return method, results


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_it_learns_in_every_precision(precision: str) -> None:
    method, results = run(200, precision, lr=1e-2)
    assert results[-1].loss < 0.5 * results[0].loss
    assert {p.dtype for p in method.module().parameters()} == {torch.float32}
    assert set(results[0].logs) == {"loss/main", "loss/fill50k", "size/main", "size/fill50k"}


def test_accumulated_steps_end_near_the_whole_ones() -> None:
    whole, _ = run(20)
    parts, _ = run(20, gradient_accumulation_steps=4)
    for a, b in zip(parts.module().parameters(), whole.module().parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_half_step_that_overflows_is_left_out_and_the_scale_halved() -> None:
    method, settled = Toy(), numerics("fp16")
    optimizer = torch.optim.AdamW(method.module().parameters())
    settled.scaler.scale(torch.ones(1))
    settled.scaler.update(2.0**127)
    before = [p.clone() for p in method.module().parameters()]
    config = OptimConfig()
    train(method, optimizer, forever(), config, settled, 0, 1, lambda _: True)
    assert all(map(torch.equal, before, method.module().parameters()))
    assert settled.scaler.get_scale() == 2.0**126


def test_it_ends_when_it_is_told_to() -> None:
    assert [r.step for r in run(9, stop_at=4)[1]] == [1, 2, 3, 4]


def test_a_loss_that_is_no_number_is_one_line() -> None:
    method = Toy()
    with torch.no_grad():
        next(method.module().parameters()).fill_(float("nan"))
    optimizer = torch.optim.AdamW(method.module().parameters())
    with pytest.raises(UserError, match=r"the loss is nan at step 1: lower --optim\.lr"):
        train(method, optimizer, forever(), OptimConfig(), numerics(), 0, 1, lambda _: True)
