"""How a run computes: number formats, autocast, determinism, compiling.

Policy: weights that are trained are float32 masters, on any device. Frozen parts are kept in the
precision of the run on a GPU, never in float32 there; on a CPU in float32 unless the run asks for
less. Arithmetic runs under autocast in the run's precision; the loss is summed in float32.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch
from train.config import RunConfig

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2, "fp16": 1e-2}  # relative, of compiled losses


@dataclass(frozen=True)
class Numerics:
    """Settled number formats. device: type of device; precision: fp32, bf16 or fp16; scaler: of
    losses, on only for fp16, whose small gradients would vanish."""

    device: str
    precision: str
    scaler: torch.amp.GradScaler

    @property
    def dtype(self) -> torch.dtype:
        """Of autocast, and of what is frozen."""
        return _DTYPES[self.precision]

    def autocast(self) -> AbstractContextManager[Any]:
        """Inside, matrix products and convolutions run in the precision."""
        return autocast(self.device, self.precision)


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """As `Numerics.autocast`. device: type of device."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device, _DTYPES[precision])


def open_numerics(settings: RunConfig) -> Numerics:
    """Settles the precision and sets torch's switches for this process: threads, TF32, determinism.

    auto is fp32 on a CPU; on a GPU bf16 where it has that, and fp16 with scaled losses elsewhere.
    """
    device = torch.device(settings.device).type
    torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = settings.tf32
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    has_bf16 = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    precision = precision_of(settings, has_bf16)
    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
    return Numerics(device, precision, scaler)


def precision_of(settings: RunConfig, has_bf16: bool) -> str:
    """fp32, bf16 or fp16. has_bf16: whether the GPU does bfloat16 by itself."""
    if settings.precision != "auto":
        return settings.precision
    is_cpu = torch.device(settings.device).type == "cpu"
    return "fp32" if is_cpu else "bf16" if has_bf16 else "fp16"


def determinism(settings: RunConfig) -> str:
    """What a run promises about being repeated, in words."""
    if torch.device(settings.device).type == "cpu":
        return f"bit-identical when repeated on this machine with {settings.threads} threads"
    if settings.deterministic:
        return "bit-identical when repeated on this kind of GPU, at the cost of slower kernels"
    return "not bit-identical when repeated: a GPU adds in any order; --deterministic forbids it"


def place(
    module: torch.nn.Module, settings: RunConfig, numerics: Numerics, device: str = ""
) -> dict[str, int]:
    """Moves a module to its device in the formats of the policy. device: another one than the
    run's.

    Returns the number of weights in each part, as `trained fp32` or `frozen bf16`.
    """
    for part in _frozen_parts(module):
        part.to(numerics.dtype)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    module.to(device or settings.device)
    if settings.channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    counts: dict[str, int] = {}
    for parameter in module.parameters():
        kind = "trained" if parameter.requires_grad else "frozen"
        name = next((n for n, d in _DTYPES.items() if d == parameter.dtype), str(parameter.dtype))
        counts[f"{kind} {name}"] = counts.get(f"{kind} {name}", 0) + parameter.numel()
    return counts


def enable_gradient_checkpointing(module: torch.nn.Module) -> None:
    """Recomputes activations in the backward pass instead of keeping them. Raises UserError where
    no part of the module can."""
    parts = [part for part in module.modules() if hasattr(part, "enable_gradient_checkpointing")]
    if not parts:
        raise UserError(
            "--optim.gradient_checkpointing: no part of this method can recompute its activations"
        )
    for part in parts:
        part.enable_gradient_checkpointing()  # type: ignore[operator]


def compile_checked(method: Any, batch: Batch, numerics: Numerics) -> str:
    """Compiles a method's network, once its loss and gradients are those of the uncompiled one.

    Args:
        method: see `train.methods.api`.
        batch: any samples, on the device.

    Returns:
        What was compared, in words.

    Raises:
        UserError: they differ, or compiling fails.
    """
    eager = _loss_and_norm(method, batch, numerics)
    try:
        method.module().compile()
        compiled = _loss_and_norm(method, batch, numerics)
    except Exception as error:  # a compiler fails in many ways
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"--compile failed ({first[0][:160]}): leave it away") from None
    limit = _TOLERANCE[numerics.precision]
    for name, before, after in zip(("loss", "gradient norm"), eager, compiled, strict=True):
        if abs(after - before) > limit * max(abs(before), 1e-8):
            raise UserError(
                f"--compile changes the {name} from {before:.6g} to {after:.6g} on the same batch, "
                f"by more than {limit:.1%}: leave it away"
            )
    return f"compiled; loss {compiled[0]:.6g}, uncompiled {eager[0]:.6g}"


def _loss_and_norm(method: Any, batch: Batch, numerics: Numerics) -> tuple[float, float]:
    parameters = [p for p in method.module().parameters() if p.requires_grad]
    with numerics.autocast():
        loss = method.training_loss(batch).per_sample.float().mean()
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    norms = [g.float().norm() for g in found if g is not None]
    return loss.item(), torch.stack(norms).norm().item()


def _frozen_parts(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The largest parts of which nothing is trained."""
    own = list(module.parameters())
    if own and not any(parameter.requires_grad for parameter in own):
        return [module]
    return [part for child in module.children() for part in _frozen_parts(child)]
