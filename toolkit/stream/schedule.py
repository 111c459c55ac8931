"""Which samples a rank reads at which step: arithmetic alone, no bytes.

A global batch is a run of positions of the mix, and each rank takes its slice of it. Worker
processes share a rank's batches by turns. The state between two batches is the next position, the
same number on every rank.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from toolkit.store.selection import Selection
from toolkit.stream.bucket_mix import BucketMix
from toolkit.stream.buckets import BucketIndex, Buckets
from toolkit.stream.mix import Mix

# Positions are planned together, since a call of numpy costs more than an element: few at first, so
# that the first batch comes soon.
_FIRST, _MOST = 64, 1024


class Want(NamedTuple):
    """One sample to read. source: index of the selection; row: in it; seed: uint64; is_padding:
    whether it only fills the last batch, with weight 0; bucket: number of the shape that its batch
    has, −1 where all have one."""

    source: int
    row: int
    seed: int
    is_padding: bool = False
    bucket: int = -1


class Step(NamedTuple):
    """One rank's share of one global batch. position: where the next batch begins."""

    wants: list[Want]
    position: int


class Schedule:
    """The steps of one rank.

    Args:
        selections: the sources, named.
        mix: whole-number weight of each source by name.
        batch_size: samples in a global batch, over all ranks.
        seed: of the order and of everything random about samples.
        rank, world: this process among all; each takes its slice of every global batch, of equal
            length or, where the batch size is no multiple of `world`, longer by one on the first.
        stop: the position at which the stream ends; never otherwise. The last batch is filled up
            with the samples that would follow, so all ranks see equally many batches.
        block: samples that stay together when a source is shuffled.
        more: JSON values that decide the stream as well; states carry them, and must agree.
        epochs: instead of `stop`: the stream ends with the window in which the first source has
            been gone through so many times.
        buckets: makes each batch of one source and one shape; the last one of a shape is short, and
            ranks share what there is. A rank that would get nothing gets one sample of weight 0.

    Raises:
        UserError: a source of the mix without a selection, a setting out of its range, fewer
            samples in a batch than ranks.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        mix: Mapping[str, int],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        stop: int | None = None,
        block: int = 1,
        more: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        buckets: Buckets | None = None,
    ):
        at_least(1, batch_size=batch_size, world=world)
        at_least(0, rank=rank, stop=0 if stop is None else stop)
        if rank >= world:
            raise UserError(f"rank {rank} of {world}: ranks count from 0 to {world - 1}")
        if batch_size < world:
            raise UserError(f"batch_size={batch_size}: takes {world} or more, one a rank")
        by_name = {selection.name: selection for selection in selections}
        for name in mix:
            if name not in by_name:
                known = ", ".join(by_name) or "nothing"
                raise UserError(f"the mix takes {name}, and there are selections of {known}")
        self.selections = tuple(by_name[name] for name in mix)
        self.indices = tuple(BucketIndex(s, buckets) for s in self.selections) if buckets else ()
        self.mix: Mix | BucketMix = (
            BucketMix(dict(zip(mix, self.indices, strict=True)), mix, batch_size, seed, block)
            if buckets
            else Mix({name: len(by_name[name]) for name in mix}, mix, seed, block)
        )
        if epochs is not None:
            at_least(1, epochs=epochs)
            if stop is not None:
                raise UserError(f"stop={stop} and epochs={epochs}: give one of them")
            stop = self.mix.positions(epochs)
        self.batch_size, self.seed, self.stop = batch_size, seed, stop
        self._more = dict(more or {})
        if buckets:  # what stands at a position depends on these as well
            self._more |= {"buckets": asdict(buckets), "batch_size": batch_size}
        self._rank, self._world = rank, world
        self._slice = slice_of(batch_size, rank, world)

    @property
    def samples_per_step(self) -> int:
        """Samples of this rank in a batch."""
        return self._slice.stop - self._slice.start

    def chunks(self, position: int, every: int = 1) -> Iterator[list[Step]]:
        """The steps from a position on, some at a time. every: of so many workers, which take the
        steps by turns."""
        stride, at_once = self.batch_size * every, _FIRST
        while not self._is_over(position):
            count = max(1, at_once // self.samples_per_step)
            yield self._plan(position, stride, count)
            position += stride * count
            at_once = min(_MOST, 4 * at_once)

    def cursor(self, position: int) -> dict[str, Any]:
        """The state of a stream whose next batch begins at `position`: JSON values."""
        return {
            "position": position,
            "seed": self.seed,
            "weights": dict(zip(self.mix.names, self.mix.weights, strict=True)),
            "block": self.mix.block,
            "data": {s.name: s.fingerprint for s in self.selections},
            **self._more,
        }

    def position_of(self, state: Mapping[str, Any]) -> int:
        """The position that a state stands at. Raises UserError when data or order differ."""
        try:
            position = int(state["position"])
        except (LookupError, TypeError, ValueError):
            position = -1
        if position < 0:
            raise UserError("cannot resume the data stream: its state has no position")
        expected = self.cursor(position)
        for name in (*expected, *state):
            value = expected.get(name)
            if state.get(name) != value:
                was, now = (_brief(x) for x in (state.get(name), value))
                hint = "the packed data or the where condition differ; " if name == "data" else ""
                raise UserError(
                    f"cannot resume the data stream: {name} was {was} and is {now}; {hint}"
                    "restore them or start a new run"
                )
        return position

    def _is_over(self, position: int) -> bool:
        return self.stop is not None and position >= self.stop

    def _plan(self, position: int, stride: int, count: int) -> list[Step]:
        starts = position + np.arange(count) * stride
        if self.stop is not None:
            starts = starts[starts < self.stop]
        if isinstance(self.mix, BucketMix):
            shares, wants = self._of_one_shape(self.mix, starts)
        else:
            shares, wants = self._of_one_size(self.mix, starts)
        return [
            Step(list(islice(wants, share)), start + self.batch_size)
            for start, share in zip(starts.tolist(), shares, strict=True)
        ]

    def _of_one_size(self, mix: Mix, starts: np.ndarray) -> tuple[list[int], Iterator[Want]]:
        """How many samples of each batch are this rank's, and these."""
        offsets = np.arange(self._slice.start, self._slice.stop)
        positions = (starts[:, None] + offsets[None, :]).ravel()
        place = mix.at(positions)
        columns = (place.source, place.row, place.seed, self._is_behind(positions))
        wants = map(Want._make, zip(*(c.tolist() for c in columns), repeat(-1), strict=False))
        return [len(offsets)] * len(starts), wants

    def _of_one_shape(self, mix: BucketMix, starts: np.ndarray) -> tuple[list[int], Iterator[Want]]:
        slices = [slice_of(n, self._rank, self._world) for n in mix.lengths(starts).tolist()]
        is_empty = np.array([part.start == part.stop for part in slices], bool)
        parts = [
            start + np.arange(part.start, part.stop) if part.start < part.stop else start[None]
            for start, part in zip(starts, slices, strict=True)
        ]
        positions = np.concatenate(parts) if parts else starts
        shares = [len(part) for part in parts]
        place, bucket = mix.at(positions)
        padding = self._is_behind(positions) | np.repeat(is_empty, shares)
        columns = (place.source, place.row, place.seed, padding, bucket)
        return shares, map(Want._make, zip(*(c.tolist() for c in columns), strict=True))

    def _is_behind(self, positions: np.ndarray) -> np.ndarray:
        """Whether the stream ends before a position."""
        return np.zeros(len(positions), bool) if self.stop is None else positions >= self.stop


def _brief(value: Any) -> str:
    """A value of a state for people: of fingerprints only the beginning."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", str(value))


def slice_of(batch_size: int, rank: int, world: int) -> slice:
    """Which samples of a global batch are a rank's."""
    each, more = divmod(batch_size, world)
    first = rank * each + min(rank, more)
    return slice(first, first + each + (rank < more))
