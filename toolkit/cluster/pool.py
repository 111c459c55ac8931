"""A Ray cluster as an executor of Python's: what packing hands its shards to."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from toolkit.cluster.connection import RETRIES, connect
from toolkit.core.errors import UserError

Found = TypeVar("Found")


@contextmanager
def on_ray(jobs: int) -> Iterator[Executor]:
    """Workers of the cluster, one core each; `jobs` is how many shards are asked for ahead, halved.
    When the block fails, what runs is cancelled. Raises UserError where there is no cluster."""
    pool = _Pool(connect())
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


class _Pool(Executor):
    def __init__(self, ray: Any):
        self._ray = ray
        self._call = ray.remote(num_cpus=1, max_retries=RETRIES)(_call)
        self._running: dict[Future[Any], Any] = {}

    def submit(
        self, function: Callable[..., Found], /, *args: Any, **options: Any
    ) -> Future[Found]:
        """As of any executor. A worker's death is no failure before it has died too often."""
        reference = self._call.remote(partial(function, *args, **options), str(Path.cwd()))
        found: Future[Found] = Future()
        self._running[found] = reference
        reference.future().add_done_callback(partial(self._pass_on, found))
        return found

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancels what runs, if asked to."""
        for reference in list(self._running.values()) if cancel_futures else ():
            self._ray.cancel(reference, force=True)

    def _pass_on(self, found: Future[Any], done: Any) -> None:
        self._running.pop(found, None)
        error = done.exception()
        if error is None:
            found.set_result(done.result())
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            found.set_exception(error.cause)
        else:
            found.set_exception(
                UserError(
                    f"a shard's workers died {RETRIES + 1} times ({type(error).__name__}): the "
                    "same command goes on with the shards that are left; `ray status` tells how "
                    "the cluster is"
                )
            )


def _call(function: Callable[[], Found], folder: str) -> Found:
    os.chdir(folder)  # relative paths mean what they do to the command
    return function()
