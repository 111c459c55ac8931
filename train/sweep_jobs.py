"""The runs of a queue: every row of it, for each value of a column, with each seed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.matrix import Flags, Row
from toolkit.core.run_jobs import Job
from toolkit.store.keys import HASH_LENGTH, make_key

_LONGEST = 59  # characters of a run's name


@dataclass(frozen=True)
class Queue:
    """What is trained.

    Attributes:
        name: begins the names of the runs.
        method: of all runs, as `config`, a preset or a TOML file, and `device`.
        where: SQL condition of all runs.
        by: the column whose `values` are trained one by one; both empty where nothing is split.
        rows: what is trained of each of them; of one row, its name is not shown.
        seeds: with which; the configuration's own where there are none.
        drawn: flags of train.stylize.
        then: commands that follow, and their flags.
    """

    name: str
    method: str
    config: str
    device: str
    where: str
    by: str
    values: Sequence[str]
    rows: Sequence[Row]
    seeds: Sequence[int]
    drawn: Flags
    then: Mapping[str, Flags]


@dataclass(frozen=True)
class Places:
    """Folders of runs, tars and manifests."""

    runs: Path
    shards: Path
    manifests: Path


@dataclass(frozen=True)
class SweepJob(Job):
    """A run of a queue, by what tells it from the others: the value that it is split by, its row
    and its seed, each only where there are several."""

    parts: Mapping[str, str | int]


def jobs_of(queue: Queue, places: Places) -> list[SweepJob]:
    """All runs: all with the first seed, then all with the next. Raises UserError for two of one
    name."""
    jobs = [_job(queue, places, parts, row, seed) for parts, row, seed in _combined(queue)]
    names = [job.run.name for job in jobs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two runs would be called {twice}: give a row of the matrix another name")
    return jobs


def _combined(queue: Queue) -> Iterator[tuple[dict[str, str | int], Row, int | None]]:
    for seed in queue.seeds or (None,):
        for value in queue.values or ("",):
            for row in queue.rows:
                parts: dict[str, str | int] = {}
                if queue.by:
                    parts[queue.by] = value
                if len(queue.rows) > 1:
                    parts["row"] = row.name
                if seed is not None and len(queue.seeds) > 1:
                    parts["seed"] = seed
                yield parts, row, seed


def _job(
    queue: Queue, places: Places, parts: Mapping[str, str | int], row: Row, seed: int | None
) -> SweepJob:
    name = _name_of(queue.name, parts)
    run = places.runs / name
    data = [f"--shards={places.shards}", f"--manifests={places.manifests}"]
    flags = dict(row.flags)
    conditions = [f"({queue.where})"]
    if "data.where" in flags:
        conditions.append(f"({flags.pop('data.where')})")
    if queue.by:
        text = str(parts[queue.by]).replace("'", "''")
        conditions.append(f"{queue.by} = '{text}'")
    chosen = " and ".join(conditions)
    train = ["-m", "train.run", queue.method, f"--config={queue.config}", f"--name={name}",
             f"--runs={places.runs}", *data, f"--device={queue.device}", f"--where={chosen}",
             *_words(flags), *([f"--seed={seed}"] if seed is not None else [])]  # fmt: skip
    of_run = [f"--run={run}", *data]
    commands = {
        "train": train,
        "stylize": ["-m", "train.stylize", *of_run, *_words(queue.drawn)],
        **{later: ["-m", later, *of_run, *_words(more)] for later, more in queue.then.items()},
    }
    label = ", ".join(f"seed {part}" if key == "seed" else str(part) for key, part in parts.items())
    folder = places.runs / queue.name / "jobs" / name
    return SweepJob(label or name, run, folder, commands, parts)


def _name_of(base: str, parts: Mapping[str, str | int]) -> str:
    """BASE-VALUE-ROW-sSEED, as far as there are several; a hash stands for what would be too
    long."""
    tails = [f"s{part}" if key == "seed" else make_key(str(part)) for key, part in parts.items()]
    plain = "-".join([base, *tails])
    if len(plain) <= _LONGEST:
        return plain
    digest = hashlib.sha256(repr(list(parts.items())).encode()).hexdigest()[:HASH_LENGTH]
    return f"{base}-{digest}"


def _words(flags: Mapping[str, str]) -> list[str]:
    return [f"--{name}={text}" for name, text in flags.items()]
