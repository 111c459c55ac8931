"""Batches decoded ahead by threads: libjpeg-turbo runs outside the interpreter's lock, and nothing
has to be handed from process to process."""

import contextlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread

from toolkit.stream.assemble import Assembler, Pending
from toolkit.stream.batch import Batch
from toolkit.stream.schedule import Schedule

READAHEAD = 4  # batches whose bytes the system is asked to fetch beyond those that are decoded


def threaded(
    assembler: Assembler, schedule: Schedule, position: int, workers: int, prefetch: int
) -> Iterator[Batch]:
    """The batches from a position on. workers: threads, at least 1; prefetch: batches decoded
    while the caller is busy with another."""
    batches = assembler.pending(schedule.chunks(position))
    planned: deque[tuple[Pending, int]] = deque()
    ahead: deque[tuple[Pending, int]] = deque()
    with _Crew(workers) as crew:

        def fill() -> None:
            while planned and len(ahead) <= prefetch:
                pending, after = planned.popleft()
                pending.open()
                crew.start(pending)
                ahead.append((pending, after))
            planned.extend(islice(batches, READAHEAD + 1 - len(planned)))

        fill()
        while planned or ahead:
            fill()
            pending, after = ahead.popleft()
            crew.wait()
            fill()  # the threads go on while this batch is finished
            yield pending.finish(schedule.cursor(after))


def inline(assembler: Assembler, schedule: Schedule, position: int, every: int) -> Iterator[Batch]:
    """The batches from a position on, decoded in this thread. every: this process takes one batch
    of so many, and others the rest."""
    batches = assembler.pending(schedule.chunks(position, every))
    planned: deque[tuple[Pending, int]] = deque(islice(batches, READAHEAD + 1))
    while planned:
        pending, after = planned.popleft()
        planned.extend(islice(batches, 1))
        pending.open()
        pending.work()
        yield pending.finish(schedule.cursor(after))


class _Crew:
    """Threads that all work on one batch after the other. A pool of futures does the same, at a
    cost that small batches feel."""

    def __init__(self, count: int):
        self._tasks: SimpleQueue[tuple[Pending, SimpleQueue[BaseException | None]] | None]
        self._tasks, self._open = SimpleQueue(), deque[SimpleQueue[BaseException | None]]()
        self._threads = [Thread(target=self._serve, name=f"decode-{i}") for i in range(count)]

    def start(self, pending: Pending) -> None:
        """Has all threads work on a batch, after those that were started before."""
        done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._open.append(done)
        for _ in self._threads:
            self._tasks.put((pending, done))

    def wait(self) -> None:
        """Until the first batch that was started and not yet waited for is done; raises what its
        work raised."""
        done = self._open.popleft()
        for error in [done.get() for _ in self._threads]:
            if error is not None:
                raise error

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            pending, done = task
            try:
                pending.work()
            except BaseException as error:
                done.put(error)
            else:
                done.put(None)

    def __enter__(self) -> "_Crew":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
