"""Which sample stands at a position: an exact mix of sources, as a pure function.

Positions come in aligned windows of sum(weights) slots, and each window holds every source exactly
`weight` times. Which slots a source gets is drawn anew for each window from a key, so no rank that
takes every k-th position sees one task only. Inside a source, sample number `ordinal` is found by
the permutation of its epoch (ordinal // n): a short source reshuffles and starts again by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.stream.order import mix64, permute_blocks


@dataclass(frozen=True)
class Place:
    """What stands at M positions; all int64 [M] but the seeds.

    source: index of the source; row: row of its selection; epoch: how often that source has been
    gone through; seed: uint64, keys everything random about the sample.
    """

    source: np.ndarray
    row: np.ndarray
    epoch: np.ndarray
    seed: np.ndarray


class Mix:
    """The infinite order of a weighted mix of sources.

    Args:
        sizes: number of samples per source, each at least 1.
        weights: whole-number weights per source, for example {"main": 3, "fill50k": 1}.
        seed: another seed gives another order.
        block: samples that stay together when a source is shuffled; 1 shuffles them one by one.

    Raises:
        UserError: a weight or block below 1, or an empty source.
    """

    def __init__(
        self, sizes: Mapping[str, int], weights: Mapping[str, int], seed: int, block: int = 1
    ):
        at_least(1, block=block)
        if not weights:
            raise UserError("the mix is empty: give it a name and a weight, as main:3,fill50k:1")
        for name, weight in weights.items():
            at_least(1, **{f"the mix: {name}": weight})
            if sizes[name] < 1:
                raise UserError(f"the mix takes {name}, but its selection holds no sample")
        self.names = tuple(weights)
        self.weights = tuple(weights.values())
        self.seed, self.block = seed, block
        self._sizes = np.array([sizes[name] for name in self.names], np.int64)
        self._weights = np.array(self.weights, np.int64)
        self._labels = np.repeat(np.arange(len(self.names)), self._weights)
        self._slot_key = np.uint64(key64("slots", seed))
        self._seed_key = np.uint64(key64("sample", seed))
        self._source_keys = [key64("order", seed, name) for name in self.names]

    @property
    def window(self) -> int:
        """Number of positions over which the mix is exact: the sum of the weights."""
        return len(self._labels)

    def positions(self, epochs: int) -> int:
        """Positions, in whole windows, after which the first source has been gone through so many
        times."""
        return self.window * -(-epochs * int(self._sizes[0]) // self.weights[0])

    def at(self, positions: np.ndarray) -> Place:
        """What stands at the positions, int64 [M], each at least 0."""
        window, slot = np.divmod(positions.astype(np.int64), self.window)
        labels = self._labels[self._shuffled_slots(window)]
        source = np.take_along_axis(labels, slot[:, None], axis=1)[:, 0]
        same_before = (labels == source[:, None]) & (np.arange(self.window) < slot[:, None])
        ordinal = window * self._weights[source] + same_before.sum(axis=1)
        epoch, index = np.divmod(ordinal, self._sizes[source])
        row = np.empty_like(index)
        for number, key in enumerate(self._source_keys):
            mine = source == number
            keys = mix64(epoch[mine].astype(np.uint64) ^ np.uint64(key))
            row[mine] = permute_blocks(index[mine], int(self._sizes[number]), self.block, keys)
        seeds = mix64(positions.astype(np.uint64) ^ self._seed_key)
        return Place(source, row, epoch, seeds)

    def _shuffled_slots(self, window: np.ndarray) -> np.ndarray:
        """For each window a permutation of its slots, int64 [M, window size]."""
        base = mix64(window.astype(np.uint64) ^ self._slot_key)[:, None]
        draws = mix64(base + np.arange(self.window, dtype=np.uint64)[None, :])
        return np.argsort(draws, axis=1, kind="stable")


def parse_mix(text: str) -> dict[str, int]:
    """`main:3,fill50k:1` as {"main": 3, "fill50k": 1}; `main` comes first wherever it is written,
    since other tasks stand beside it. Raises UserError."""
    mix: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, weight = part.strip().partition(":")
        if not name or not (weight or "1").isdecimal() or int(weight or 1) < 1 or name in mix:
            raise UserError(
                f"mix={text}: write names with whole numbers from 1, as main:3,fill50k:1"
            )
        mix[name] = int(weight or 1)
    if not mix:
        raise UserError("the mix is empty: write for example main:3,fill50k:1")
    return {name: mix[name] for name in sorted(mix, key=lambda name: name != "main")}
