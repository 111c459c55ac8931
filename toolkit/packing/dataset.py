"""Packs a source as a dataset: shards over processes, resumed by shard, then dataset.json."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folders, remove_temporary
from toolkit.core.progress import Progress
from toolkit.core.records import Source
from toolkit.packing.card import refuse_other_data, write_card
from toolkit.packing.plan import Input, plan
from toolkit.packing.resume import finished_shard, remember_inputs, remove_surplus
from toolkit.packing.shard import ShardSummary, fingerprint, make_shard
from toolkit.store.ingest import Policy
from toolkit.store.keys import check_dataset_name
from toolkit.store.layout import Layout


@dataclass(frozen=True)
class PackResult:
    """What came of a pack. num_reused: shards that were there already and unchanged. notes: what
    the source found besides inputs."""

    dataset: str
    num_ok: int
    num_failed: int
    causes: dict[str, int]
    num_shards: int
    num_reused: int
    notes: dict[str, int]


def pack(
    source: Source,
    dataset: str,
    layout: Layout,
    samples_per_shard: int,
    jobs: int = 1,
    limit: int | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
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
    refuse_other_data(layout, dataset, source.describe())
    folders = (layout.shards / dataset, layout.manifests / dataset)
    make_folders(folders)
    description = {**source.describe(), "samples_per_shard": samples_per_shard}
    if policy != Policy():
        description["policy"] = policy.describe()
    busy = f"another process is packing {dataset} into {layout.manifests}: wait for it"
    with held(layout.manifests / dataset, busy):
        for folder in folders:
            remove_temporary(folder)
        layout.card(dataset).unlink(missing_ok=True)  # written last: its absence says "unfinished"
        work = _slices(plan(itertools.chain([first], refs)), samples_per_shard)
        reused, summaries = 0, []
        with Progress(None, f"pack {dataset}", "samples") as progress:
            for summary, fresh in _make(
                source, dataset, layout, description, work, jobs, policy
            ):  # fmt: skip
                summaries.append(summary)
                reused += not fresh
                progress.advance(summary.num_ok + summary.num_failed)
        remove_surplus(layout, dataset, len(summaries))
        write_card(layout, dataset, description, dict(sorted(notes.items())))
    return total(dataset, summaries, reused, notes)


def total(
    dataset: str, summaries: list[ShardSummary], num_reused: int, notes: Counter[str]
) -> PackResult:
    """What came of all shards together."""
    causes: Counter[str] = Counter()
    for summary in summaries:
        causes.update(summary.causes)
    return PackResult(
        dataset,
        sum(s.num_ok for s in summaries),
        sum(s.num_failed for s in summaries),
        dict(sorted(causes.items())),
        len(summaries),
        num_reused,
        dict(sorted(notes.items())),
    )


def _slices(inputs: Iterator[Input], size: int) -> Iterator[tuple[int, list[Input]]]:
    for index in itertools.count():
        part = list(itertools.islice(inputs, size))
        if not part:
            return
        yield index, part


def _make(
    source: Source,
    dataset: str,
    layout: Layout,
    description: dict[str, Any],
    work: Iterator[tuple[int, list[Input]]],
    jobs: int,
    policy: Policy,
) -> Iterator[tuple[ShardSummary, bool]]:
    """Yields (summary, freshly made) of every shard; at most 2·jobs slices are in flight."""
    running: dict[Future[ShardSummary], list[Input]] = {}

    def finish(futures: Iterator[Future[ShardSummary]]) -> Iterator[tuple[ShardSummary, bool]]:
        for future in futures:
            summary = future.result()
            remember_inputs(layout, dataset, summary.index, running.pop(future))
            yield summary, True

    with workers(jobs) as pool:
        for index, inputs in work:
            identity = fingerprint(dataset, description, inputs)
            done = finished_shard(layout, dataset, index, identity, inputs)
            if done is not None:
                yield done, False
                continue
            parts = (source, dataset, index, inputs, layout, identity, policy)
            future = pool.submit(make_shard, *parts)
            running[future] = inputs
            while len(running) >= 2 * jobs:
                yield from finish(iter(wait(running, return_when=FIRST_COMPLETED).done))
        yield from finish(as_completed(list(running)))


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """A pool of `jobs` processes; of one thread for a single job. When the block fails, processes
    are killed: what they were at is under a temporary name still."""
    if jobs == 1:
        with ThreadPoolExecutor(1) as pool:
            yield pool
        return
    # spawn: a fork would copy the locks of the threads of libraries loaded by the parent
    context = multiprocessing.get_context("spawn")
    processes = ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent)
    try:
        yield processes
    except BaseException:
        with _deaf():
            for child in multiprocessing.active_children():
                child.kill()
            processes.shutdown(cancel_futures=True)
        raise
    processes.shutdown()


@contextmanager
def _deaf() -> Iterator[None]:
    """Keeps a second interrupt from breaking the clean-up after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
