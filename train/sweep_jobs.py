"""The runs of a queue: every row of it, for each value of a column, with each seed."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolkit.core.matrix import Flags, Row
from toolkit.core.run_jobs import Job, Places, words_of

_LONGEST = 59  # characters of a run's name
_HASH = 8


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
class SweepJob(Job):
    """A run of a queue, by what tells it from the others: the value that it is split by, its row
    and its seed, each only where there are several."""

    parts: Mapping[str, str | int]


def jobs_of(queue: Queue, places: Places) -> list[SweepJob]:
    """All runs: all with the first seed, then all with the next."""
    every = list(_combined(queue))
    plain = [_plain_name(queue.name, parts) for parts, *_ in every]
    return [
        _job(queue, places, _name_of(name, parts, plain), parts, row, seed)
        for name, (parts, row, seed) in zip(plain, every, strict=True)
    ]


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
    queue: Queue,
    places: Places,
    name: str,
    parts: Mapping[str, str | int],
    row: Row,
    seed: int | None,
) -> SweepJob:
    run = places.runs / name
    flags = dict(row.flags)
    given = (queue.where, flags.pop("data.where", "true"))
    conditions = [f"({condition})" for condition in given if condition != "true"]
    if queue.by:
        text = str(parts[queue.by]).replace("'", "''")
        conditions.append(f"{queue.by} = '{text}'")
    chosen = " and ".join(conditions) or "true"
    train = ["-m", "train.run", queue.method, f"--config={queue.config}", f"--name={name}",
             f"--runs={places.runs}", *places.data, f"--device={queue.device}", f"--where={chosen}",
             *words_of(flags), *([f"--seed={seed}"] if seed is not None else [])]  # fmt: skip
    of_run = [f"--run={run}", *places.data]
    commands = {
        "train": train,
        "stylize": ["-m", "train.stylize", *of_run, *words_of(queue.drawn)],
        **{later: ["-m", later, *of_run, *words_of(more)] for later, more in queue.then.items()},
    }
    label = ", ".join(f"seed {part}" if key == "seed" else str(part) for key, part in parts.items())
    folder = places.runs / queue.name / "jobs" / name
    return SweepJob(label or name, run, folder, commands, parts)


def _plain_name(base: str, parts: Mapping[str, str | int]) -> str:
    """BASE-VALUE-ROW-sSEED, as far as there are several."""
    slugs = [
        f"s{part}" if key == "seed" else re.sub(r"[^a-z0-9_]+", "-", str(part).lower()).strip("-")
        for key, part in parts.items()
    ]
    return "-".join([base, *slugs])


def _name_of(plain: str, parts: Mapping[str, str | int], others: Sequence[str]) -> str:
    """The plain name, or its beginning and a hash where it is too long or two runs have it."""
    if len(plain) <= _LONGEST and others.count(plain) == 1:
        return plain
    digest = hashlib.sha256(repr(list(parts.items())).encode()).hexdigest()[:_HASH]
    return f"{plain[: _LONGEST - _HASH - 1].rstrip('-')}-{digest}"
