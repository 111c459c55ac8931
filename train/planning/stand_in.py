"""What tensors without values cannot do by themselves: autocast, attention in its memory-efficient
form, and answers to questions about values.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_HALF = (
    functional.linear, functional.conv1d, functional.conv2d, functional.conv3d, torch.conv2d,
    functional.conv_transpose2d, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__,
    torch.mm, torch.bmm, torch.Tensor.bmm, torch.baddbmm, torch.addmm, torch.einsum,
)  # fmt: skip
_FULL = (
    functional.layer_norm, functional.group_norm, functional.softmax, torch.softmax,
    torch.Tensor.softmax, functional.mse_loss, torch.sum, torch.Tensor.sum, torch.pow,
    torch.Tensor.pow, torch.Tensor.__pow__, torch.exp, torch.Tensor.exp, torch.log,
    torch.Tensor.log, torch.rsqrt, torch.Tensor.rsqrt, torch.norm, torch.Tensor.norm,
    torch.cumsum, torch.prod,
)  # fmt: skip
"""The operations of autocast's lists for CUDA that networks here use, in half and in full precision
(https://docs.pytorch.org/docs/stable/amp.html)."""
_ANSWERS: dict[Any, Callable[[torch.Tensor], Any]] = {
    torch.Tensor.item: lambda x: 1.0 if x.dtype.is_floating_point else _LENGTH,
    torch.Tensor.tolist: lambda x: _count(x).tolist(),
    torch.Tensor.__bool__: lambda _: True,
    torch.Tensor.__int__: lambda _: _LENGTH,
    torch.Tensor.__float__: lambda _: 1.0,
    torch.Tensor.__index__: lambda _: 0,
    torch.Tensor.cpu: lambda x: x,
    torch.Tensor.numpy: lambda x: torch.zeros(x.shape, dtype=x.dtype).numpy(),
}
"""What is said of values that nobody knows: whole numbers count tokens, truths are false one by
one, as of samples of the prior, and true together, as whether all is finite."""
_LENGTH = 16
"""Tokens of a caption."""


class StandIn(TorchFunctionMode):
    """While it is entered, functions of torch take tensors on `meta` for those of a run.

    Args:
        dtype: of autocast, None for none.
        is_cuda: whether autocast is that of a GPU, which keeps sums and normalisations in float32.
    """

    def __init__(self, dtype: torch.dtype | None, is_cuda: bool):
        super().__init__()
        self._dtype, self._is_cuda = dtype, is_cuda
        self._is_on, self._keeps = False, True
        self._cast: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Inside, functions of the lists run in their precision; as `Numerics.autocast`. A trained
        weight is cast once."""
        self._is_on, self._keeps = self._dtype is not None, True
        try:
            yield
        finally:
            self._is_on = False
            self._cast.clear()

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """As `autocast`, of activations that a backward pass computes again: block by block."""
        with self.autocast():
            self._keeps = False
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, all is in its own precision."""
        was, self._is_on = self._is_on, False
        try:
            yield
        finally:
            self._is_on = was

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if func in _ANSWERS and args[0].device.type == "meta":
            return _ANSWERS[func](args[0])
        if func is torch.Tensor.to and args[0].is_meta and len(args) > 1 and _is_cpu(args[1]):
            args = (args[0], torch.device("meta"), *args[2:])
        if func is functional.scaled_dot_product_attention and args[0].device.type == "meta":
            query, key, value = (self._in(x, self._dtype) for x in args[:3])
            return _Attention.apply(query, key, value)
        if self._is_on and func in _HALF:
            args, options = self._all(args, self._dtype), self._all(options, self._dtype)
        elif self._is_on and self._is_cuda and func in _FULL:
            args, options = self._all(args, torch.float32), self._all(options, torch.float32)
        return func(*args, **options)

    def _all(self, values: Any, dtype: torch.dtype | None) -> Any:
        if isinstance(values, dict):
            return {name: self._in(value, dtype) for name, value in values.items()}
        return tuple(self._in(value, dtype) for value in values)

    def _in(self, value: Any, dtype: torch.dtype | None) -> Any:
        """A floating tensor in another precision; a trained weight once."""
        if not isinstance(value, torch.Tensor) or dtype is None or not self._is_on:
            return value
        if not value.is_floating_point() or value.dtype == dtype:
            return value
        if not (self._keeps and value.is_leaf and value.requires_grad and dtype == self._dtype):
            return value.to(dtype)
        if id(value) not in self._cast:
            self._cast[id(value)] = (value, value.to(dtype))
        return self._cast[id(value)][1]


class _Attention(torch.autograd.Function):
    """softmax(QKᵀ)V as FlashAttention has it (Dao et al. 2022, arXiv 2205.14135): of the square of
    all scores nothing is kept but a number a row."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Any:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        query, key, value, *_ = ctx.saved_tensors
        return tuple(torch.empty_like(x) for x in (query, key, value))


def _count(x: torch.Tensor) -> torch.Tensor:
    is_whole = not x.dtype.is_floating_point and x.dtype != torch.bool
    return torch.full(x.shape, _LENGTH if is_whole else 0, dtype=x.dtype, device="cpu")


def _is_cpu(where: Any) -> bool:
    return isinstance(where, (str, torch.device)) and torch.device(where).type == "cpu"
