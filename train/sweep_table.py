"""What became of a queue: a line for each run, with what it took, its losses and its scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.core.files import make_folder, write_atomic
from toolkit.core.run_jobs import Job
from train.log import read_log
from train.runs import RunFolder
from train.sweep_jobs import SweepJob

_LOSSES = ("loss", "eval_loss")


def table_of(
    jobs: Sequence[SweepJob], outcome: Mapping[str, Sequence[Job]]
) -> tuple[list[str], list[list[Any]]]:
    """Names of columns, and a row for each job: what tells it from the others, its folder, what
    became of it (`toolkit.core.run_jobs.work`) or why it failed, seconds of its stages, its last
    losses, and the scores that eval.run wrote."""
    scores = [_scores(job) for job in jobs]
    metrics = list(dict.fromkeys(name for found in scores for name in found))
    parts, stages = list(jobs[0].parts), list(jobs[0].commands)
    rows = []
    for job, found in zip(jobs, scores, strict=True):
        state = job.state()
        what = next((key for key, some in outcome.items() if job in some), "not begun")
        losses = _losses(job)
        rows.append([
            *(job.parts[part] for part in parts), str(job.run), state.failed or what,
            *(round(state.seconds.get(stage, 0.0), 1) for stage in stages),
            *(losses.get(name) for name in _LOSSES), *(found.get(name) for name in metrics),
        ])  # fmt: skip
    return [*parts, "run", "state", *(f"{s} s" for s in stages), *_LOSSES, *metrics], rows


def keep(names: Sequence[str], rows: Sequence[Sequence[Any]], folder: Path) -> None:
    """Writes the table as a list of objects."""
    records = [dict(zip(names, row, strict=True)) for row in rows]
    write_atomic(make_folder(folder) / "sweep.json", json.dumps(records, indent=1) + "\n")


def _losses(job: SweepJob) -> dict[str, float]:
    """The last of each that was logged."""
    path = RunFolder(job.run).log
    found: dict[str, float] = {}
    for record in read_log(path) if path.is_file() else ():
        found |= {name: record[name] for name in _LOSSES if name in record}
    return found


def _scores(job: SweepJob) -> dict[str, float]:
    """Metrics that were measured after the run's last stage was done."""
    path = RunFolder(job.run).scores / "summary.json"
    if "eval.run" not in job.commands or not job.is_current(job.state(), "eval.run"):
        return {}
    summary = json.loads(path.read_text("utf-8")) if path.is_file() else {"metrics": []}
    return {m["name"]: m["value"] for m in summary["metrics"] if m["value"] is not None}
