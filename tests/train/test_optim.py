"""The learning rate is a pure function of the step; groups scale it."""

import importlib.util
import itertools
import math

import pytest
import torch

from toolkit.core.errors import UserError
from train.config import OptimConfig, RunConfig, check_config
from train.optim import build_optimizer, rate_at, set_rate, with_rates


def test_warm_up_is_linear_then_cosine_falls_to_zero() -> None:
    config = OptimConfig(lr=1.0, warmup_steps=10)
    rates = [rate_at(config, step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert rates[9] == pytest.approx(1, abs=1e-3)
    assert rates[500] == pytest.approx(0.5)
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_cosine_agrees_with_pytorch() -> None:
    config = OptimConfig(lr=0.3, warmup_steps=0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert rate_at(config, step, 50) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()


def test_constant_stays() -> None:
    config = OptimConfig(lr=2.0, warmup_steps=4, schedule="constant")
    assert [rate_at(config, s, 9) for s in (0, 3, 8)] == [0.5, 2.0, 2.0]


def test_groups_scale_the_rate_and_keep_their_weight_decay() -> None:
    a, b = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = build_optimizer(
        OptimConfig(weight_decay=0.5),
        [{"params": [a], "lr_scale": 1.0}, {"params": [b], "lr_scale": 10.0, "weight_decay": 0.0}],
    )
    set_rate(optimizer, 0.01)
    assert [g["lr"] for g in optimizer.param_groups] == [0.01, 0.1]
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.5, 0.0]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0}, {"threads": 0}, {"optim": OptimConfig(lr=0)}, {"optim": OptimConfig(lr=-1)},
        {"optim": OptimConfig(gradient_accumulation_steps=17)},
        {"optim": OptimConfig(gradient_accumulation_steps=-1)}, {"initial_steps": 300},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(change: dict) -> None:
    check_config(RunConfig())
    with pytest.raises(UserError):
        check_config(RunConfig(**change))


def groups() -> list[dict]:
    body, gates = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    return [
        {"name": "body", "params": [body]}, {"name": "gates", "params": [gates], "lr_scale": 50.0}
    ]  # fmt: skip


def test_groups_take_rates_of_their_own_and_are_frozen_at_0() -> None:
    made = groups()
    found = with_rates(OptimConfig(lr=1e-3, group_lr="gates:1e-2, body:0"), made)
    assert [group["name"] for group in found] == ["gates"]
    optimizer = build_optimizer(OptimConfig(lr=1e-3), found)
    set_rate(optimizer, 1e-3)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-2)
    assert [group["params"][0].requires_grad for group in made] == [False, True]
    plain = with_rates(OptimConfig(lr=1e-3), groups())
    assert [group["lr_scale"] for group in plain] == [1.0, 50.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gate:1", "no group 'gate'; it has body, gates"),
        ("gates", "write it as"),
        ("gates:-1", "0 or more"),
        ("gates:nan", "0 or more"),
        ("gates:0,body:0", "freezes every weight"),
    ],
)
def test_wrong_group_rates_are_one_line(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        with_rates(OptimConfig(group_lr=text), groups())


def test_eight_bit_adamw_without_its_package_is_one_line() -> None:
    if importlib.util.find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(UserError, match="needs the package bitsandbytes"):
        build_optimizer(OptimConfig(optimizer="adamw8bit"), groups())


def test_the_rate_is_finite_for_a_single_step() -> None:
    assert math.isfinite(rate_at(OptimConfig(), 0, 1))
