"""Memory is lent again only once nobody holds it."""

import gc

import numpy as np
import torch

from toolkit.stream.buffers import Buffers


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_comes_back_when_its_tensor_is_gone() -> None:
    buffers = Buffers()
    lent = buffers.take((4, 5))
    assert (lent.shape, lent.dtype) == ((4, 5), np.uint8)
    place, tensor = address(lent), torch.from_numpy(lent).permute(1, 0)
    del lent
    gc.collect()
    other = buffers.take((4, 5))
    assert address(other) != place  # the tensor still has it
    part = tensor[2:3]
    del tensor
    gc.collect()
    assert address(buffers.take((4, 5))) not in (place, address(other))  # and so has its part
    del part
    gc.collect()
    assert address(buffers.take((4, 5))) == place


def test_memory_is_lent_by_its_size() -> None:
    """Shapes of as many bytes have the same, and any shape of those that were given room."""
    buffers = Buffers()
    place = address(buffers.take((2, 8)))
    gc.collect()
    other = buffers.take((2, 9))
    assert other.shape == (2, 9)
    assert address(other) != place
    assert address(buffers.take((4, 4))) == place
    gc.collect()
    roomy = buffers.take((3, 5), room=16)
    assert (address(roomy), roomy.shape) == (place, (3, 5))
    assert roomy.flags.c_contiguous
