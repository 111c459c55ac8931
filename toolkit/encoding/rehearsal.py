"""Encodes some samples, keeps nothing, and says what all of them would take."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.encoding.plan import ShardTask, refuse_other, shards_of, tasks
from toolkit.encoding.run import Job, encoded_samples, inputs_of
from toolkit.store.catalog import Catalog
from toolkit.store.tensors import npy


@dataclass(frozen=True)
class Forecast:
    """What a rehearsal found. num_samples: encoded now; num_failed: of these, those that could not
    be; num_wanted: all of the query; seconds, num_bytes: what all of the query would take."""

    num_samples: int
    num_failed: int
    num_wanted: int
    seconds: float
    num_bytes: float


def rehearse(catalog: Catalog, job: Job, limit: int) -> Forecast:
    """Encodes the first `limit` samples that are not encoded yet and writes nothing.

    Time is counted after the first batch, which bears what happens once, where there is a second.

    Raises UserError as encoding does, and where everything is encoded already.
    """
    wanted = job.wanted
    shards = shards_of(catalog, wanted.condition)
    if not wanted.overwrite:
        refuse_other(catalog.layout, (shard[0] for shard in shards), wanted.name, wanted.recipe)
    found = tasks(catalog, wanted.condition, shards, wanted.name, wanted.recipe.sha256)
    todo = _first(limit, (task for task in found if isinstance(task, ShardTask)))
    count = failed = num_bytes = warm = 0
    began = start = time.monotonic()
    num_wanted = sum(number for *_, number in shards)
    with Progress(min(limit, num_wanted), f"rehearse {wanted.name}", "samples") as progress:
        for task, inputs in groupby(inputs_of(catalog, job, todo), lambda made: made.task):
            for sample in encoded_samples(task, inputs, job):
                if not sample.tensors and not sample.cause:
                    continue
                count += 1
                failed += bool(sample.cause)
                num_bytes += sum(_in_tar(len(npy(tensor.values))) for tensor in sample.tensors)
                progress.advance()
                if count == job.batch_size < limit:  # the next sample waits for the next batch
                    start, warm = time.monotonic(), count
    if not count:
        raise UserError(f"all samples are encoded as {wanted.name} already: nothing to rehearse")
    now = time.monotonic()
    if count == warm:  # there was no second batch after all
        start, warm = began, 0
    seconds = (now - start) / (count - warm) * num_wanted
    return Forecast(count, failed, num_wanted, seconds, num_bytes / count * num_wanted)


def _first(limit: int, found: Iterator[ShardTask]) -> Iterator[ShardTask]:
    """The tasks, cut off after `limit` samples."""
    while limit > 0 and (task := next(found, None)):
        keys = [row["key"] for row in task.rows if row["key"] in task.wanted][:limit]
        limit -= len(keys)
        yield ShardTask(task.dataset, task.stem, task.rows, frozenset(keys))


def _in_tar(size: int) -> int:
    """Bytes of a file of that size in a tar: its header, and whole blocks of 512."""
    return 512 + -(-size // 512) * 512
