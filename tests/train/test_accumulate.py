"""Parts of a batch: as many as memory asks for, with the same gradients."""

import itertools

import pytest
import torch

from tests.train.test_numerics import numerics
from tests.train.toys import Toy, batch_at
from toolkit.stream.batch import Batch
from train.accumulate import AUTO, Accumulator, backward
from train.methods.api import LossOut


class Hungry(Toy):
    """Asks the allocator for more than any machine has, beside more than `most` samples."""

    def __init__(self, most: int):
        super().__init__()
        self.most, self.sizes = most, list[int]()

    def training_loss(self, batch: Batch) -> LossOut:
        self.sizes.append(len(batch))
        loss = super().training_loss(batch)
        if len(batch) > self.most:
            torch.empty(2**60, dtype=torch.uint8)
        return loss


def gradients(method: Toy) -> list[torch.Tensor]:
    return [p.grad.clone() for p in method.module().parameters() if p.grad is not None]


def test_parts_become_smaller_until_they_fit() -> None:
    method, told = Hungry(most=2), list[int]()
    accumulator = Accumulator(AUTO, told.append)
    accumulator.backward(method, batch_at(0), numerics())
    assert told == [2, 4]
    assert method.sizes == [8, 4, 2, 2, 2, 2]
    plain = Toy()
    backward(plain, batch_at(0), numerics(), 4)
    for found, expected in zip(gradients(method), gradients(plain), strict=True):
        assert torch.equal(found, expected)  # nothing is left of the tries
    accumulator.backward(method, batch_at(8), numerics())
    assert method.sizes[6:] == [2, 2, 2, 2]  # once found, it stays
    assert told == [2, 4]


def test_it_can_run_out_in_the_middle_of_a_batch() -> None:
    method, calls = Toy(), itertools.count()
    whole = method.training_loss

    def second_fails(batch: Batch) -> LossOut:
        if next(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(batch)

    method.training_loss = second_fails  # type: ignore[method-assign]
    accumulator = Accumulator(AUTO, lambda _: None)
    accumulator.num_parts = 2
    accumulator.backward(method, batch_at(0), numerics())
    plain = Toy()
    backward(plain, batch_at(0), numerics(), 4)
    for found, expected in zip(gradients(method), gradients(plain), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(("num_parts", "most"), [(1, 2), (AUTO, 0)])
def test_what_does_not_fit_is_raised(num_parts: int, most: int) -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        Accumulator(num_parts, lambda _: None).backward(Hungry(most), batch_at(0), numerics())


def test_other_errors_are_raised() -> None:
    method = Toy()
    method.net[2] = torch.nn.Linear(5, 6)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Accumulator(AUTO, lambda _: None).backward(method, batch_at(0), numerics())
