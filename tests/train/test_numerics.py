"""Number formats by the policy; compiled networks compared with uncompiled ones."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from tests.train.toys import WIDTH, Toy, batch_at
from toolkit.core.errors import UserError
from train.config import RunConfig
from train.numerics import (
    Numerics,
    compile_checked,
    determinism,
    enable_gradient_checkpointing,
    open_numerics,
    place,
)


def numerics(precision: str = "fp32") -> Numerics:
    settings = RunConfig(precision=precision, threads=torch.get_num_threads())  # type: ignore[arg-type]
    return open_numerics(settings)


def test_auto_is_fp32_on_a_cpu_and_only_fp16_scales_its_losses() -> None:
    assert numerics("auto").precision == "fp32"
    assert [numerics(p).scaler.is_enabled() for p in ("fp32", "bf16", "fp16")] == [0, 0, 1]
    with numerics("bf16").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_frozen_parts_take_the_precision_and_trained_weights_stay_fp32() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2).half())
    net[0].requires_grad_(False)
    settings = RunConfig(precision="bf16")
    assert place(net, settings, numerics("bf16")) == {"frozen bf16": 28, "trained fp32": 10}
    assert net[0][1].running_mean.dtype == torch.bfloat16
    partly = nn.Sequential(nn.Linear(2, 2))
    partly[0].weight.requires_grad_(False)  # its bias is trained: nothing whole is frozen
    assert place(partly, settings, numerics("bf16")) == {"frozen fp32": 4, "trained fp32": 2}


def test_the_promise_is_told() -> None:
    cpu, gpu = RunConfig(threads=3), RunConfig(device="cuda")
    assert determinism(cpu) == "bit-identical when repeated on this machine with 3 threads"
    assert determinism(gpu).startswith("not bit-identical")
    sure = dataclasses.replace(gpu, deterministic=True)
    assert determinism(sure).startswith("bit-identical when repeated on this kind of GPU")


class Different(nn.Module):
    """Computes something else once it is compiled, as a wrong kernel would."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(WIDTH, WIDTH), factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found = self.layer(values)
        return found * self.factor if torch.compiler.is_compiling() else found


@pytest.mark.slow  # compilers are
def test_a_compiled_network_is_compared_with_the_uncompiled_one() -> None:
    told = compile_checked(Toy(net=Different(1.0)), batch_at(0), numerics())
    assert told.startswith("compiled; loss ")
    with pytest.raises(UserError, match=r"--compile changes the loss from .* on the same batch"):
        compile_checked(Toy(net=Different(1.1)), batch_at(0), numerics())


def test_a_compiler_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    method: Any = Toy()
    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda net: compile_(net, backend="no_such_backend"))
    with pytest.raises(UserError, match=r"--compile failed \(.*: leave it away"):
        compile_checked(method, batch_at(0), numerics())


def test_nothing_to_recompute_is_one_line() -> None:
    with pytest.raises(UserError, match="no part of this method can recompute"):
        enable_gradient_checkpointing(Toy().module())
