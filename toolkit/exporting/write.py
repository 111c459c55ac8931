"""The frame around every form: samples in order, in parts, journalled, then published whole."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.interrupts import OneInterrupt
from toolkit.core.progress import Progress
from toolkit.exporting.api import About, Form, Part, Sample, Written
from toolkit.exporting.chosen import Chosen
from toolkit.exporting.forms import open_form
from toolkit.exporting.names import safe_split
from toolkit.exporting.place import NOTES, Staging, refuse_other
from toolkit.exporting.reading import Planned, Planner, Tally, read_samples

VERSION = 1  # of what the forms write: another one makes other bytes of the same samples


@dataclass(frozen=True)
class Job:
    """What is wanted. form: its name; where: the query as it was written; out: the destination;
    max_bytes: of a file; limit: samples at most; overwrite: an earlier export may be replaced."""

    chosen: Chosen
    form: str
    where: str
    out: Path
    name: str
    with_links: bool
    max_bytes: int
    limit: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Done:
    """What came of it. record: what the export keeps about itself; num_kept: samples that an
    interrupted one had written; was_there: nothing had to be done; seconds: of writing."""

    record: dict[str, Any]
    left: Tally
    num_kept: int = 0
    was_there: bool = False
    seconds: float = 0.0


@dataclass
class _Counts:
    """Parts so far, in each split, and in each split and dataset."""

    numbers: dict[str, int] = field(default_factory=dict)
    owns: dict[tuple[str, str], int] = field(default_factory=dict)
    rows: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, split: str, dataset: str, rows: int) -> None:
        self.numbers[split] = self.numbers.get(split, 0) + 1
        self.owns[split, dataset] = self.owns.get((split, dataset), 0) + 1
        self.rows[split, dataset] = self.rows.get((split, dataset), 0) + rows


def export(job: Job) -> Done:
    """Writes an export, or goes on with one that was interrupted.

    Raises UserError: nothing to export, a destination that holds something else, a tar that cannot
    be read, a disk that takes no more.
    """
    identity = _identity(job)
    if record := refuse_other(job.out, identity, job.overwrite):
        return Done(record, Tally(), was_there=True)
    start = time.monotonic()
    with OneInterrupt().caught() as interrupt, Staging(job.out, identity).entered() as staging:
        if record := refuse_other(job.out, identity, job.overwrite):  # made meanwhile
            staging.remove()
            return Done(record, Tally(), was_there=True)
        about = _about(job, staging.folder)
        form = open_form(job.form, about)
        written, tally = _taken_up(staging)
        num_kept = sum(w.num_samples for w in written)
        total = min(job.chosen.num_samples, job.limit or job.chosen.num_samples)
        done = sum(w.part.num_samples for w in written)
        with Progress(total, f"export {job.form}", "samples", done=done) as progress:
            for part, planned in _parts(job, form, staging, written, total - done):
                found = _write(job, form, part, planned, staging, interrupt, progress)
                written.append(found[0])
                tally.update(found[1])
        if not sum(w.num_samples for w in written):
            named = next(iter(tally.named.values()), [""])[0]
            raise UserError(f"no sample could be exported, all are damaged, as {named}: "
                            "python -m toolkit.verify tells what is wrong")  # fmt: skip
        form.finish(written)
        with interrupt.held():
            record = staging.publish(_record(job, written, tally))
    return Done(record, tally, num_kept, seconds=time.monotonic() - start)


def _write(
    job: Job, form: Form, part: Part, planned: list[Planned], staging: Staging,
    interrupt: OneInterrupt, progress: Progress,
) -> tuple[Written, Tally]:  # fmt: skip
    """Has one part written, and notes it."""
    tally, num_samples = Tally(), 0

    def given() -> Iterator[Sample]:
        nonlocal num_samples
        for sample in read_samples(job.chosen.catalog.layout, planned, tally):
            num_samples += 1
            progress.advance()
            yield sample

    files = form.write(part, given())
    listed = [(path.relative_to(staging.folder).as_posix(), path.stat().st_size) for path in files]
    entry = {
        "split": part.split, "dataset": part.dataset, "number": part.number, "own": part.own,
        "rows": part.num_samples, "samples": num_samples, "files": listed,
        "left": dict(tally.counts), "named": tally.named,
    }  # fmt: skip
    with interrupt.held():
        staging.add(entry)
    return Written(part, num_samples, sum(size for _, size in listed)), tally


def _parts(
    job: Job, form: Form, staging: Staging, written: list[Written], limit: int
) -> Iterator[tuple[Part, list[Planned]]]:
    """The parts that are still to be written."""
    counts = _Counts()
    for w in written:
        counts.add(w.part.split, w.part.dataset, w.part.num_samples)
    planner = Planner(job.chosen, form.reads, job.with_links)
    left = limit
    for split, dataset in job.chosen.groups():
        if left <= 0:
            return
        skip = counts.rows.get((split, dataset), 0)
        for planned in _cut(planner.planned(split, dataset, skip, left), form, job.max_bytes):
            left -= len(planned)
            yield _part(staging.folder, split, dataset, counts, len(planned)), planned
            counts.add(split, dataset, len(planned))


def _cut(planned: Iterator[Planned], form: Form, max_bytes: int) -> Iterator[list[Planned]]:
    """Consecutive samples, together at most so many and so large, or one alone."""
    part: list[Planned] = []
    size = 0
    for plan in planned:
        if part and (len(part) == form.max_samples or size + plan.num_bytes > max_bytes):
            yield part
            part, size = [], 0
        part.append(plan)
        size += plan.num_bytes
    if part:
        yield part


def _part(folder: Path, split: str, dataset: str, counts: _Counts, num_samples: int) -> Part:
    number, own = counts.numbers.get(split, 0), counts.owns.get((split, dataset), 0)
    notes = folder / NOTES / f"{safe_split(split)}-{number:06d}"
    return Part(split, dataset, number, own, notes, num_samples)


def _taken_up(staging: Staging) -> tuple[list[Written], Tally]:
    """What an interrupted export had written."""
    written, tally, counts = [], Tally(), _Counts()
    for entry in staging.done:
        part = _part(staging.folder, entry["split"], entry["dataset"], counts, entry["rows"])
        counts.add(part.split, part.dataset, part.num_samples)
        size = sum(number for _, number in entry["files"])
        written.append(Written(part, entry["samples"], size))
        for what, number in entry["left"].items():
            tally.add(what, "", number)
            for name in entry["named"].get(what, ()):
                tally.add(what, name, 0)
    return written, tally


def _about(job: Job, folder: Path) -> About:
    chosen = job.chosen
    columns, lacking = chosen.filled()
    return About(
        chosen, chosen.catalog.layout, folder, job.name, job.where, chosen.datasets,
        chosen.schema(), chosen.pictures(job.with_links), columns, lacking,
        chosen.has_splits, job.max_bytes, job.with_links,
    )  # fmt: skip


def _identity(job: Job) -> str:
    parts = [VERSION, job.form, job.name, job.with_links, job.max_bytes, job.limit,
             job.chosen.identity(job.with_links)]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _record(job: Job, written: list[Written], tally: Tally) -> dict[str, Any]:
    splits: dict[str, int] = {}
    for w in written:
        splits[w.part.split] = splits.get(w.part.split, 0) + w.num_samples
    left = {**{f"failed inputs, {c}": n for c, n in job.chosen.failed.items()}, **tally.counts}
    return {
        "form": job.form, "name": job.name, "where": job.where,
        "datasets": list(job.chosen.datasets), "with_links": job.with_links,
        "num_samples": sum(splits.values()), "splits": splits, "left_out": left,
    }  # fmt: skip


def left_out(done: Done) -> list[tuple[str, int, list[str]]]:
    """What was left out: in words, how many, and some of it by name."""
    counts = done.record.get("left_out", {})
    return [(what, n, done.left.named.get(what, [])) for what, n in sorted(counts.items())]
