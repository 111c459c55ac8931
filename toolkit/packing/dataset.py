"""Packs a source as a dataset: slices of its inputs, a shard each."""

import itertools
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.records import Source
from toolkit.packing.plan import Input, plan
from toolkit.packing.shard import fingerprint, make_shard
from toolkit.packing.workers import Pool, workers
from toolkit.packing.write import PackResult, Task, write_dataset
from toolkit.store.ingest import Policy
from toolkit.store.keys import check_dataset_name
from toolkit.store.layout import Layout


def pack(
    source: Source,
    dataset: str,
    layout: Layout,
    samples_per_shard: int,
    jobs: int = 1,
    limit: int | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    overwrite: bool = False,
    pool: Pool = workers,
) -> PackResult:
    """Packs every input of `source` and writes the dataset's card.

    Shard k holds exactly the inputs [k·n, (k+1)·n), failures included, so any number of processes
    gives the same bytes. A finished shard whose inputs and bytes are unchanged is kept.

    Args:
        source: the raw data.
        dataset: the name; folders of this name are made in both data folders.
        layout: the data folders.
        samples_per_shard: n, at least 1.
        jobs: processes, at least 1.
        limit: pack only the first inputs, at least 1, for a rehearsal.
        policy: how pictures are taken in.
        overwrite: replace other data of this name.
        pool: opens what the shards are made by; any gives the same bytes.

    Raises:
        UserError: an unusable name, a folder that cannot be written, no input at all, or another
            process packing the same dataset.
    """
    check_dataset_name(dataset)
    counts = {"samples_per_shard": samples_per_shard, "jobs": jobs, "limit": limit}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UserError(f"--{name}={count}: takes 1 or more")
    notes: Counter[str] = Counter()
    refs = itertools.islice(source.index(notes), limit)
    first = next(refs, None)
    if first is None:
        raise UserError(f"nothing to pack as {dataset}: the source has no input")
    description = {**source.describe(), "samples_per_shard": samples_per_shard}
    if policy != Policy():
        description["policy"] = policy.describe()

    def tasks() -> Iterator[Task]:
        inputs = plan(itertools.chain([first], refs))
        for index, part in enumerate(_slices(inputs, samples_per_shard)):
            identity = fingerprint(dataset, description, part)
            shard = (source, dataset, index, part, layout, identity, policy)
            yield Task(index, identity, part, partial(make_shard, *shard))

    src = getattr(source, "src", None)
    origin = str(src.resolve()) if isinstance(src, Path) else ""
    return write_dataset(
        layout, dataset, description, tasks(), jobs, notes, origin, overwrite, pool
    )


def _slices(inputs: Iterator[Input], size: int) -> Iterator[list[Input]]:
    while part := list(itertools.islice(inputs, size)):
        yield part
