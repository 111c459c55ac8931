"""What is to be made, and how its plan is cut: into shards, and among processes."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.pairing.plan import Target, read_plans
from toolkit.store.layout import Layout
from toolkit.teaching.pack import Part, Taught


@dataclass(frozen=True)
class Job:
    """What is to be made. source: the dataset and its stage; description: everything that decides
    its bytes besides the plan; plans: its files, in their order; batch_size: first attempts that
    are made together; rank, world: this process among all that share the work; limit: stop after so
    many targets, and pack nothing; overwrite: whether another dataset of that name is replaced;
    keep_refused: folder for pictures that are refused, to look at."""

    source: Taught
    layout: Layout
    description: dict[str, Any]
    plans: tuple[Path, ...]
    targets_per_shard: int
    batch_size: int = 1
    rank: int = 0
    world: int = 1
    limit: int | None = None
    overwrite: bool = False
    keep_refused: Path | None = None


def parts(job: Job) -> Iterator[Part]:
    """The plan, a shard's targets at a time."""
    targets = read_plans(job.plans)
    for index in itertools.count():
        chunk = list(itertools.islice(targets, job.targets_per_shard))
        if not chunk:
            return
        yield Part(index, chunk)


def blocks(job: Job, part: Part) -> Iterator[Sequence[Target]]:
    """The targets of a part that are this process's, by `batch_size` neighbours in the plan."""
    size = job.batch_size
    earlier = part.index * -(-job.targets_per_shard // size)
    for number, start in enumerate(range(0, len(part.targets), size), earlier):
        if number % job.world == job.rank:
            yield part.targets[start : start + size]
