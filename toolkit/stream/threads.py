"""Batches decoded ahead by threads: libjpeg-turbo runs outside the interpreter's lock, and nothing
has to be handed from process to process."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from toolkit.stream.assemble import Assembler, Pending
from toolkit.stream.batch import Batch
from toolkit.stream.schedule import Schedule

READAHEAD = 4  # batches whose bytes the system is asked to fetch beyond those that are decoded


def threaded(
    assembler: Assembler, schedule: Schedule, position: int, workers: int, prefetch: int
) -> Iterator[Batch]:
    """The batches from a position on. workers: threads, at least 1; prefetch: batches decoded
    while the caller is busy with another."""
    planned: deque[tuple[Pending, int]] = deque()
    ahead: deque[tuple[Pending, int, list[Future[None]]]] = deque()
    with ThreadPoolExecutor(workers, "decode") as pool:
        try:
            while True:
                while len(planned) + len(ahead) <= prefetch + READAHEAD:
                    if schedule.is_over(position):
                        break
                    wants, position = schedule.step(position)
                    planned.append((assembler.plan(wants), position))
                while planned and len(ahead) <= prefetch:
                    pending, after = planned.popleft()
                    pending.open()
                    jobs = [pool.submit(pending.work) for _ in range(workers)]
                    ahead.append((pending, after, jobs))
                if not ahead:
                    return
                pending, after, jobs = ahead.popleft()
                for job in jobs:
                    job.result()
                yield pending.finish(schedule.cursor(after))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def inline(assembler: Assembler, schedule: Schedule, position: int, every: int) -> Iterator[Batch]:
    """The batches from a position on, decoded in this thread. every: this process takes one batch
    of so many, and others the rest."""
    planned: deque[tuple[Pending, int]] = deque()
    while True:
        while len(planned) <= READAHEAD and not schedule.is_over(position):
            wants, after = schedule.step(position, every)
            planned.append((assembler.plan(wants), after))
            position += schedule.batch_size * every
        if not planned:
            return
        pending, after = planned.popleft()
        pending.open()
        pending.work()
        yield pending.finish(schedule.cursor(after))
