"""What every pack has around its shards: folders, the lock, work over processes, the card."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folders, without_temporary, write_atomic
from toolkit.core.interrupts import OneInterrupt
from toolkit.core.progress import Progress
from toolkit.packing.card import refuse_other_data, write_card
from toolkit.packing.plan import Input
from toolkit.packing.resume import (
    finished_shard,
    origin_path,
    remember_inputs,
    remove_surplus,
)
from toolkit.packing.shard import ShardSummary
from toolkit.packing.workers import Pool, finished, workers
from toolkit.store.layout import Layout


@dataclass(frozen=True)
class Task:
    """One shard that is wanted. identity: of all that decides its content; inputs: files whose
    change makes it anew; make: writes it, in any process; prepare: called in this one before it is
    looked whether the shard is there."""

    index: int
    identity: str
    inputs: Sequence[Input]
    make: Callable[[], ShardSummary]
    prepare: Callable[[], None] = lambda: None


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


def write_dataset(
    layout: Layout,
    dataset: str,
    description: dict[str, Any],
    tasks: Iterator[Task],
    jobs: int,
    notes: Counter[str],
    origin: str = "",
    overwrite: bool = False,
    pool: Pool = workers,
) -> PackResult:
    """Makes the shards that are not there yet, removes those of an earlier pack that are no longer
    wanted, and writes the card.

    Args:
        layout: the data folders.
        dataset: its name; folders of this name are made in both.
        description: the source's, for the card.
        tasks: all shards, in their order.
        jobs: processes, at least 1.
        notes: what the source finds while `tasks` are walked.
        origin: where the raw data lies on this machine; empty where that says nothing.
        overwrite: replace other data of this name.
        pool: opens what the shards are made by.

    Raises:
        UserError: other data under this name, a folder that cannot be written, or another process
            packing the same dataset.
    """
    if not overwrite:
        refuse_other_data(layout, dataset, description)
        tasks = _refuse_another_folder(tasks, layout, dataset, origin)
    folders = (layout.shards / dataset, layout.manifests / dataset)
    make_folders(folders)
    busy = f"another process is packing {dataset} into {layout.manifests}: wait for it"
    summaries: list[ShardSummary] = []
    num_reused = 0
    with (
        OneInterrupt().caught() as interrupt,
        held(layout.manifests / dataset, busy),
        without_temporary(folders),
    ):
        layout.card(dataset).unlink(missing_ok=True)  # written last: its absence says "unfinished"
        with Progress(None, f"pack {dataset}", "samples") as progress, pool(jobs) as crew:
            work = _Work(layout, dataset, crew, 2 * jobs, interrupt)
            for summary, fresh in work.made(tasks):
                summaries.append(summary)
                num_reused += not fresh
                progress.advance(summary.num_ok + summary.num_failed)
        remove_surplus(layout, dataset, len(summaries))
        if origin:
            path = origin_path(layout, dataset)
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, origin)
        write_card(layout, dataset, description, dict(sorted(notes.items())))
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


def _refuse_another_folder(
    tasks: Iterator[Task], layout: Layout, dataset: str, origin: str
) -> Iterator[Task]:
    """Raises UserError where a finished dataset was packed from another folder, unless that has
    only been moved: its first shard then stays as it is."""
    try:
        before = origin_path(layout, dataset).read_text("utf-8")
    except OSError:
        return tasks
    if before == origin or not origin or not layout.card(dataset).exists():
        return tasks
    first, tar = next(tasks), layout.tar(dataset, 0)
    is_gone = tar.is_symlink() and not tar.exists()  # a foreign tar: it was moved, or is lost
    same = finished_shard(layout, dataset, first.index, first.identity, first.inputs)
    if same is None and not is_gone:
        raise UserError(
            f"the dataset {dataset} was packed from {before}, not from {origin}: choose another "
            "--name, or give --overwrite to replace it"
        )
    return itertools.chain([first], tasks)


class _Work:
    """Shards that are made by a crew, `at_once` of them in flight."""

    def __init__(
        self,
        layout: Layout,
        dataset: str,
        crew: Executor,
        at_once: int,
        interrupt: OneInterrupt,
    ):
        self._layout, self._dataset = layout, dataset
        self._crew, self._at_once, self._interrupt = crew, at_once, interrupt
        self._running: dict[Future[ShardSummary], Task] = {}

    def made(self, tasks: Iterator[Task]) -> Iterator[tuple[ShardSummary, bool]]:
        """Yields (summary, freshly made) of every shard."""
        for task in tasks:
            task.prepare()
            done = finished_shard(
                self._layout, self._dataset, task.index, task.identity, task.inputs
            )
            if done is not None:
                yield done, False
                continue
            with self._interrupt.held():
                self._running[self._crew.submit(task.make)] = task
            while len(self._running) >= self._at_once:
                yield from self._finished()
        while self._running:
            yield from self._finished()

    def _finished(self) -> Iterator[tuple[ShardSummary, bool]]:
        """Waits for shards a moment."""
        for future in finished(self._running, self._interrupt):
            task, summary = self._running.pop(future), future.result()
            remember_inputs(self._layout, self._dataset, task.index, task.inputs)
            yield summary, True
