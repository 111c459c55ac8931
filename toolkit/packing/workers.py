"""Processes that work for a pack and end with it, however it ends."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import forkserver
from typing import TypeVar

from toolkit.core.interrupts import OneInterrupt

Found = TypeVar("Found")
Pool = Callable[[int], AbstractContextManager[Executor]]
"""Opens workers for a number of jobs at once."""
_LOOKED_S = 0.2  # how long an interrupt waits at most
# what every worker needs: loaded once, while the inputs are listed, not once a worker
_PRELOADED = ("toolkit.packing.shard", "PIL.Image", "imagehash", "scipy.fftpack")


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """A pool of `jobs` processes; of one thread for a single job. When the block fails, processes
    are killed: what they were at is under a temporary name still."""
    if jobs == 1:
        with ThreadPoolExecutor(1) as pool:
            yield pool
        return
    # not forked from here: a fork would copy the locks of the threads of libraries loaded by now
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    forkserver.ensure_running()  # loads while the first inputs are listed
    processes = ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent)
    try:
        yield processes
    except BaseException:
        for child in multiprocessing.active_children():
            child.kill()
        processes.shutdown(cancel_futures=True)
        raise
    processes.shutdown()


def results(
    crew: Executor, calls: Iterator[Callable[[], Found]], at_once: int, interrupt: OneInterrupt
) -> Iterator[Found]:
    """What calls return, as they end; `at_once` of them in flight."""
    running: set[Future[Found]] = set()
    for call in itertools.chain(calls, [None]):
        if call is not None:
            with interrupt.held():
                running.add(crew.submit(call))
        while len(running) >= (at_once if call is not None else 1):
            for future in finished(running, interrupt):
                running.remove(future)
                yield future.result()


def finished(running: Collection[Future[Found]], interrupt: OneInterrupt) -> set[Future[Found]]:
    """Waits a moment for any of some calls to end: those that did."""
    with interrupt.held():
        return wait(running, timeout=_LOOKED_S, return_when=FIRST_COMPLETED).done


def _end_with_parent() -> None:
    """Lets a worker end when the packing process was killed, instead of waiting for ever; an
    interrupt is the packing process's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
