"""An endless, exact and resumable stream of batches.

Position p of the stream holds the same sample, with the same seed, whatever the number of decoding
threads; the state between two batches is the next position and nothing else.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.store.selection import Selection
from toolkit.stream.assemble import Assembler, Pending, Want
from toolkit.stream.batch import Batch
from toolkit.stream.mix import Mix


class Loader:
    """Batches of a weighted mix of selections.

    Args:
        selections: the sources, named.
        mix: whole-number weight of each source by name.
        batch_size: samples in a batch.
        size: pixels a side.
        seed: of the order and of everything random about samples.
        workers: decoding threads; 0 decodes in the caller's thread.
        prefetch: batches that are decoded ahead; without workers it has no effect.
        roles: the roles to read; all that the selections have otherwise.

    Raises:
        UserError: a source of the mix without a selection, a weight or size below 1.
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
    ):
        if batch_size < 1 or size < 1 or workers < 0 or prefetch < 0:
            raise UserError("batch_size and size are at least 1, workers and prefetch at least 0")
        by_name = {selection.name: selection for selection in selections}
        for name in mix:
            if name not in by_name:
                known = ", ".join(by_name)
                raise UserError(f"the mix takes {name}, there are selections of {known} only")
        self.mix = Mix({name: len(by_name[name]) for name in mix}, mix, seed)
        self.selections = tuple(by_name[name] for name in mix)
        self.batch_size, self.size, self.seed = batch_size, size, seed
        self.workers, self.prefetch = workers, prefetch
        self._assembler = Assembler(self.selections, size, roles)
        self._position = 0

    def __iter__(self) -> Iterator[Batch]:
        if self.workers == 0:
            while True:
                batch = self._assembler.assemble(*self._plan(self._position))
                self._position += self.batch_size
                yield batch
        yield from self._threaded()

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
            (self.mix.names[s], self.selections[s].table.column("key")[int(r)].as_py())
            for s, r in zip(place.source, place.row, strict=True)
        ]

    def _threaded(self) -> Iterator[Batch]:
        ahead: deque[tuple[Pending, list[Future[None]], dict[str, Any]]] = deque()
        position = self._position
        with ThreadPoolExecutor(self.workers, "decode") as pool:
            try:
                while True:
                    while len(ahead) <= self.prefetch:
                        wants, cursor = self._plan(position)
                        pending = self._assembler.start(wants)
                        jobs = [pool.submit(pending.fill, index) for index in range(len(wants))]
                        ahead.append((pending, jobs, cursor))
                        position += self.batch_size
                    pending, jobs, cursor = ahead.popleft()
                    for job in jobs:
                        job.result()
                    self._position = cursor["position"]
                    yield pending.finish(cursor)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _plan(self, position: int) -> tuple[list[Want], dict[str, Any]]:
        place = self.mix.at(np.arange(position, position + self.batch_size))
        wants = [
            Want(int(s), int(r), int(seed))
            for s, r, seed in zip(place.source, place.row, place.seed, strict=True)
        ]
        return wants, self._cursor(position + self.batch_size)

    def _cursor(self, position: int) -> dict[str, Any]:
        return {
            "position": position,
            "seed": self.seed,
            "weights": dict(zip(self.mix.names, self.mix.weights, strict=True)),
            "data": {s.name: s.fingerprint for s in self.selections},
        }
