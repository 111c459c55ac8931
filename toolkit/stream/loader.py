"""An exact and resumable stream of batches, endless or up to a position.

Position p of the stream holds the same sample, with the same seed, whatever the number of decoding
threads and of ranks. A global batch is a run of positions; each rank takes its slice of it. The
state between two batches is the next position, the same number on every rank.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.store.selection import Selection
from toolkit.stream.assemble import Assembler, Pending, Want
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch
from toolkit.stream.mix import Mix


class Loader:
    """Batches of a weighted mix of selections.

    Args:
        selections: the sources, named.
        mix: whole-number weight of each source by name.
        batch_size: samples in a global batch, over all ranks.
        size: pixels a side.
        seed: of the order and of everything random about samples.
        workers: decoding threads; 0 decodes in the caller's thread.
        prefetch: batches that are decoded ahead; without workers it has no effect.
        roles: the roles to read; all that the selections have otherwise.
        rank, world: this process among all; each takes its slice of every global batch, of equal
            length or, where the batch size is no multiple of `world`, longer by one on the first.
        stop: the position at which the stream ends; never otherwise. The last batch is filled up
            with the samples that would follow, at weight 0, so all ranks see equally many batches.
        block: samples that stay together when a source is shuffled.
        augment: how pictures are cut and flipped, and captions dropped.
        max_bytes: a cap on the pixels in flight; fewer batches are decoded ahead where it needs to.

    Raises:
        UserError: a source of the mix without a selection, a setting out of its range, fewer
            samples in a batch than ranks, or a cap that a single batch exceeds.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        mix: Mapping[str, int],
        batch_size: int,
        size: int,
        seed: int,
        workers: int = 2,
        prefetch: int = 1,
        roles: Sequence[str] | None = None,
        rank: int = 0,
        world: int = 1,
        stop: int | None = None,
        block: int = 1,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        max_bytes: int = 1 << 30,
    ):
        if batch_size < 1 or size < 1 or workers < 0 or prefetch < 0:
            raise UserError("batch_size and size are at least 1, workers and prefetch at least 0")
        if not 0 <= rank < world:
            raise UserError(f"rank {rank} of {world}: ranks count from 0 to {world - 1}")
        if batch_size < world:
            raise UserError(f"--data.batch_size={batch_size}: takes {world} or more, one a rank")
        by_name = {selection.name: selection for selection in selections}
        for name in mix:
            if name not in by_name:
                known = ", ".join(by_name)
                raise UserError(f"the mix takes {name}, there are selections of {known} only")
        self.mix = Mix({name: len(by_name[name]) for name in mix}, mix, seed, block)
        self.selections = tuple(by_name[name] for name in mix)
        self.batch_size, self.size, self.seed = batch_size, size, seed
        self.workers, self.rank, self.world, self.stop = workers, rank, world, stop
        self._assembler = Assembler(self.selections, size, roles, augment)
        self._slice = _slice_of(batch_size, rank, world)
        self.prefetch = self._capped(prefetch, max_bytes) if workers else 0
        self._position = 0

    @property
    def max_bytes_in_flight(self) -> int:
        """Pixels of the batches that may exist at once: the one in use and those decoded ahead."""
        return (self.prefetch + 2) * self._batch_bytes()

    def _batch_bytes(self) -> int:
        count = self._slice.stop - self._slice.start
        return count * len(self._assembler.roles) * self.size * self.size * 3

    def _capped(self, prefetch: int, max_bytes: int) -> int:
        room = max_bytes // self._batch_bytes() - 2
        if room < 0:
            raise UserError(
                f"two batches take {2 * self._batch_bytes() / 1e6:.0f} MB of pixels, more than "
                f"--data.max_bytes={max_bytes}: take smaller batches or a larger cap"
            )
        return min(prefetch, room)

    def __iter__(self) -> Iterator[Batch]:
        if self.workers:
            yield from self._threaded()
        while not self._is_over(self._position):
            batch = self._assembler.assemble(*self._plan(self._position))
            self._position += self.batch_size
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: JSON values, taken between two batches."""
        return self._cursor(self._position)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken. Raises UserError when data or order differ."""
        expected = self._cursor(int(state["position"]))
        for name, value in expected.items():
            if state.get(name) != value:
                raise UserError(
                    f"cannot resume the data stream: {name} was {state.get(name)} and is {value}; "
                    "restore it or start a new run"
                )
        self._position = int(state["position"])

    def close(self) -> None:
        """Closes the shards."""
        self._assembler.close()

    def keys(self, first: int, count: int) -> list[tuple[str, str]]:
        """(task, key) of `count` positions from `first`, without reading any picture."""
        place = self.mix.at(np.arange(first, first + count))
        return [
            (self.mix.names[s], self._assembler.rows[s].value("key", int(r)))
            for s, r in zip(place.source, place.row, strict=True)
        ]

    def _threaded(self) -> Iterator[Batch]:
        ahead: deque[tuple[Pending, list[Future[None]], dict[str, Any]]] = deque()
        position = self._position
        with ThreadPoolExecutor(self.workers, "decode") as pool:
            try:
                while True:
                    while len(ahead) <= self.prefetch and not self._is_over(position):
                        wants, cursor = self._plan(position)
                        pending = self._assembler.start(wants)
                        jobs = [pool.submit(pending.fill, index) for index in range(len(wants))]
                        ahead.append((pending, jobs, cursor))
                        position += self.batch_size
                    if not ahead:
                        return
                    pending, jobs, cursor = ahead.popleft()
                    for job in jobs:
                        job.result()
                    self._position = cursor["position"]
                    yield pending.finish(cursor)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _is_over(self, position: int) -> bool:
        return self.stop is not None and position >= self.stop

    def _plan(self, position: int) -> tuple[list[Want], dict[str, Any]]:
        """This rank's samples of the global batch at a position, and the state behind it."""
        positions = np.arange(position + self._slice.start, position + self._slice.stop)
        place = self.mix.at(positions)
        wants = [
            Want(int(s), int(r), int(seed), self._is_over(int(p)))
            for p, s, r, seed in zip(positions, place.source, place.row, place.seed, strict=True)
        ]
        return wants, self._cursor(position + self.batch_size)

    def _cursor(self, position: int) -> dict[str, Any]:
        return {
            "position": position,
            "seed": self.seed,
            "weights": dict(zip(self.mix.names, self.mix.weights, strict=True)),
            "block": self.mix.block,
            "data": {s.name: s.fingerprint for s in self.selections},
        }


def _slice_of(batch_size: int, rank: int, world: int) -> slice:
    each, more = divmod(batch_size, world)
    first = rank * each + min(rank, more)
    return slice(first, first + each + (rank < more))
