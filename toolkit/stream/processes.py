"""Batches made in worker processes, for transforms that are written in Python and so hold the
interpreter's lock. Torch's DataLoader carries them; batch k is made by worker k mod W, so the order
does not depend on how many there are."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from toolkit.stream.assemble import Assembler
from toolkit.stream.batch import Batch
from toolkit.stream.schedule import Schedule
from toolkit.stream.threads import inline

Transform = Callable[[Batch], Any]


class Made(NamedTuple):
    """A transformed batch, with what the loader has to know of it."""

    value: Any
    position: int
    failures: tuple[str, ...]


def transformed(batches: Iterator[Batch], transform: Transform | None) -> Iterator[Made]:
    """Each batch after its transform."""
    for batch in batches:
        value = transform(batch) if transform else batch
        yield Made(value, batch.cursor["position"], batch.failures)


class _Share(IterableDataset[Made]):
    """In each worker process that worker's batches."""

    def __init__(
        self,
        build: Callable[[], Assembler],
        schedule: Schedule,
        position: int,
        transform: Transform | None,
    ):
        self._build, self._schedule = build, schedule
        self._position, self._transform = position, transform

    def __iter__(self) -> Iterator[Made]:
        info = get_worker_info()
        number, count = (info.id, info.num_workers) if info else (0, 1)
        first = self._position + number * self._schedule.batch_size
        assembler = self._build()
        try:
            batches = inline(assembler, self._schedule, first, count)
            yield from transformed(batches, self._transform)
        finally:
            assembler.close()


def in_processes(
    build: Callable[[], Assembler],
    schedule: Schedule,
    position: int,
    transform: Transform | None,
    processes: int,
    prefetch: int,
    context: str | None = None,
) -> Iterator[Made]:
    """The batches from a position on, made by `processes` workers, of which each works at most
    `prefetch` batches ahead (at least 1). build: makes the assembler in a worker; context: how
    processes are started, the system's way by default."""
    share = _Share(build, schedule, position, transform)
    yield from DataLoader(
        share, batch_size=None, num_workers=processes, prefetch_factor=max(1, prefetch),
        collate_fn=_as_it_is, multiprocessing_context=context,
    )  # fmt: skip


def _as_it_is(made: Any) -> Any:
    """Torch would turn the tuples and arrays of a transform's result into something else."""
    return made
