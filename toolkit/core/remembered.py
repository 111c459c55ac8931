"""A few values that are dear to make, kept while they are asked for."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Keeps the values that were asked for last. limit: on the sum of their sizes; size: of a
    value, otherwise 1. What is larger than the limit is not kept."""

    def __init__(self, limit: int, size: Callable[[T], int] = lambda value: 1):
        self._limit, self._size = limit, size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._total = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key; made where it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        value = self._kept[key] = make()
        self._total += self._size(value)
        while self._total > self._limit:
            self._total -= self._size(self._kept.popitem(last=False)[1])
        return value
