"""Batches made by threads, ahead of the caller: libjpeg-turbo runs outside the interpreter's lock,
and nothing has to be handed from process to process.

The threads do everything, from looking samples up to building the batch. A caller that did its
part would be one thread more than there are cores, and all would wait for each other's lock.
"""

import atexit
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from toolkit.stream.assemble import Assembler, Pending
from toolkit.stream.batch import Batch
from toolkit.stream.schedule import Schedule

READAHEAD = 4  # batches whose bytes the system is asked to fetch beyond those that are decoded
_Made = SimpleQueue[Batch | BaseException]


def threaded(
    assembler: Assembler, schedule: Schedule, position: int, workers: int, prefetch: int
) -> Iterator[Batch]:
    """The batches from a position on. workers: threads, at least 1; prefetch: batches that wait
    ready while the caller is busy with another and the next is being made."""
    with _Crew(workers, assembler, schedule, position) as crew:
        for _ in range(prefetch + 1):
            crew.begin()
        while (batch := crew.take()) is not None:
            crew.begin()
            yield batch


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
    """Threads that make batches in order, several threads at one batch.

    Their jobs stand in one queue: to begin a batch, which queues its work once for each thread; and
    that work. The last to leave a batch finishes it.
    """

    def __init__(self, workers: int, assembler: Assembler, schedule: Schedule, position: int):
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._batches: SimpleQueue[_Made | None] = SimpleQueue()
        self._source = assembler.pending(schedule.chunks(position))
        self._planned: deque[tuple[Pending, int]] = deque()
        self._cursor, self._lock, self._is_over = schedule.cursor, Lock(), False
        # A stream that nobody closed must not keep the program alive, so the threads are daemons;
        # they end before the interpreter does, since it aborts on those inside a C++ library.
        self._threads = [
            Thread(target=self._serve, name=f"decode-{i}", daemon=True) for i in range(workers)
        ]

    def begin(self) -> None:
        """Asks for one more batch."""
        self._jobs.put(self._begin)

    def take(self) -> Batch | None:
        """The next batch, None at the end. Raises what went wrong with it."""
        made = self._batches.get()
        batch = made.get() if made else None
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def _begin(self) -> None:
        with self._lock:  # batches are numbered by who comes first
            if self._is_over:
                return
            made: _Made = SimpleQueue()
            try:
                self._planned.extend(islice(self._source, READAHEAD + 1 - len(self._planned)))
                self._is_over = not self._planned
                if self._is_over:
                    self._batches.put(None)
                    return
                pending, after = self._planned.popleft()
                pending.open()
            except BaseException as error:
                self._is_over = True
                made.put(error)
                self._batches.put(made)
                return
            self._batches.put(made)
            task = _Task(pending, after, made, self._cursor, len(self._threads))
            for _ in self._threads:
                self._jobs.put(task.work)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def __enter__(self) -> "_Crew":
        atexit.register(self._stop)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        atexit.unregister(self._stop)
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._is_over = True
        with contextlib.suppress(Empty):
            while True:
                self._jobs.get_nowait()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()


class _Task:
    """One batch that several threads work on."""

    def __init__(
        self,
        pending: Pending,
        after: int,
        made: _Made,
        cursor: Callable[[int], dict[str, object]],
        threads: int,
    ):
        self._pending, self._after, self._made = pending, after, made
        self._cursor, self._left, self._lock = cursor, threads, Lock()
        self._error: BaseException | None = None

    def work(self) -> None:
        """One thread's share; the last one's ends with the batch, or what went wrong."""
        try:
            self._pending.work()
        except BaseException as error:
            self._error = error
        with self._lock:
            self._left -= 1
            if self._left:
                return
        if self._error is not None:
            self._made.put(self._error)
            return
        try:
            self._made.put(self._pending.finish(self._cursor(self._after)))
        except BaseException as error:
            self._made.put(error)
