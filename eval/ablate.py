"""Trains, stylises and scores a matrix of runs, and compares them in one table.

    python -m eval.ablate matrix.toml --rehearse=3      what it will take, nothing is kept
    python -m eval.ablate matrix.toml

The matrix is a TOML file: a baseline and what is varied, see toolkit/core/matrix.py and the README.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.core import command
from toolkit.core.cards import slots_of
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.log import hint, note
from toolkit.core.show import show
from toolkit.store.layout import Layout, local_layout


def main(
    matrix: Path,
    *,
    name: str | None = None,
    rehearse: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    cards: tuple[str, ...] = (),
    pictures: int = 6,
    format: Literal["table", "json", "csv"] = "table",
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Makes every run of a matrix that is not made yet, and the table of all of them.

    Interrupted, the same command goes on where it stopped. Started again beside itself, with
    another CUDA_VISIBLE_DEVICES for instance, the two share the work. A run that fails leaves the
    others going on; the same command tries it again.

    Args:
        matrix: the TOML file.
        name: of the results and of the runs, as NAME-ROW; the file's otherwise.
        rehearse: only do so many steps of each row's training, keep nothing, and say what its
            training takes; of less than three the estimate is too high.
        dry_run: only print the commands.
        overwrite: train rows anew whose training flags are others than before.
        cards: numbers of GPUs, comma-separated, each for one process at a time; cpu, once for each
            process, on the CPU. One process at a time otherwise.
        pictures: how many pairs of content and style the page shows.
        format: of what is printed: table, json or csv.
        runs: folder of the runs; the results go to runs/NAME.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.ablation_runs import jobs_of
    from eval.ablation_runs import rehearse as rehearsal
    from eval.bridge import check_later_flags, resolved_flags
    from toolkit.core.matrix import read_matrix
    from toolkit.core.run_jobs import Places, refuse_others, work

    layout = local_layout(shards, manifests)
    plan = read_matrix(matrix, name, resolved_flags, check_later_flags)
    jobs = jobs_of(plan, Places(runs, shards, manifests))
    if rehearse is not None and rehearse < 1:
        raise UserError(f"--rehearse={rehearse}: takes 1 or more steps")
    if dry_run:
        for job in jobs:
            print("\n".join(shlex.join(["python", *words]) for words in job.commands.values()))
        return
    if rehearse is not None:
        if wrong := rehearsal(jobs, rehearse):
            raise UserError(f"{wrong} rows cannot be trained: mend what they say")
        return
    refuse_others(jobs, overwrite)
    count = f"{len(plan.rows)} rows, {len(plan.seeds)} seeds: {len(jobs)} runs"
    note(count)
    slots = slots_of(cards) if cards else [{}]

    def is_scored(job: Any) -> bool:
        return _summary(job, runs, layout) is not None

    outcome = work(jobs, overwrite, is_scored, slots)
    result = _result(plan, jobs, outcome, runs, layout)
    _write(result, matrix, layout, runs / plan.name, pictures)
    _print(result, format)
    folder = runs / plan.name
    where = f"page: {(folder / 'ablation.html').resolve()}; beside it .md, .json and .parquet"
    hint(where)
    if outcome["elsewhere"]:
        note(f"{len(outcome['elsewhere'])} runs are in the hands of another process: the one that "
             "ends last writes the whole table")  # fmt: skip
    if outcome["failed"]:
        failed = ", ".join(job.label for job in outcome["failed"])
        raise UserError(f"{len(outcome['failed'])} of {len(jobs)} runs failed ({failed}): mend "
                        "what they say, the same command tries them again")  # fmt: skip


def _summary(job: Any, runs: Path, layout: Layout) -> dict[str, Any] | None:
    """What eval.run wrote of a run, if it is of the pictures that are there."""
    from eval.compare import summary_of

    try:
        return summary_of(str(job.run), runs, layout)
    except UserError:
        return None


def _result(
    plan: Any, jobs: Sequence[Any], outcome: dict[str, list[Any]], runs: Path, layout: Layout
) -> dict[str, Any]:
    """All of it, as plain values."""
    from eval.ablation_table import entries_of, names_of_single, shared_metrics
    from eval.paired import cells_of

    summaries: dict[str, list[dict[str, Any]]] = {}
    rows = []
    for row in plan.rows:
        own = [job for job in jobs if job.row is row]
        found = [_summary(job, runs, layout) for job in own if job.is_done(job.state())]
        whole = [summary for summary in found if summary is not None]
        if len(whole) == len(own):
            summaries[row.name] = whole
        state = "scored" if len(whole) == len(own) else _state(own, outcome)
        rows.append({
            "name": row.name, "differs": row.differs, "runs": [str(job.run) for job in own],
            "state": state, "cost": _cost(own, whole),
            "dataset": whole[0]["dataset"] if whole else "",
            "references": whole[0]["references"] if whole else "",
            "label": whole[0].get("label") if whole else {},
        })  # fmt: skip
    metrics, notes = (
        shared_metrics([one for several in summaries.values() for one in several])
        if summaries
        else ([], [])
    )
    notes += _missing([one for several in summaries.values() for one in several])
    if len(plan.seeds) == 1:
        notes.append("one seed: how much another training of a row would differ was not measured")
    baseline = plan.rows[0].name
    if summaries and baseline not in summaries:
        notes.append("the baseline is not scored, so nothing is compared with it")
    single = names_of_single(metrics)
    cells = {
        row: [cells_of(layout, one["dataset"], single) for one in several]
        for row, several in summaries.items()
    }
    entries = entries_of(cells, summaries, metrics, baseline)
    notes += _few(cells)
    notes += _alike(entries)
    return {
        "name": plan.name, "method": plan.method, "config": plan.config, "seeds": list(plan.seeds),
        "rows": rows, "entries": [entry.as_json() for entry in entries], "notes": notes,
    }  # fmt: skip


def _few(cells: dict[str, list[Any]]) -> list[str]:
    """A line where intervals cannot say anything of other contents or styles."""
    from eval.paired import clusters

    pairs: dict[Any, Any] = next(iter(cells.values()), [{}])[0]
    return [
        f"one {role} only: intervals and verdicts say nothing of other {role}s"
        for role, count in clusters(pairs, pairs).items()
        if count == 1
    ]


def _missing(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each metric whose weights are missing, with the command that gets them."""
    found = {gap["name"]: gap for summary in summaries for gap in summary["missing"]}
    return [
        f"{name}: missing, {gap['what']}; get it with: {gap['command']}"
        for name, gap in sorted(found.items())
    ]


def _alike(entries: Sequence[Any]) -> list[str]:
    """A line for each row whose scores are the baseline's, picture by picture."""
    by_row: dict[str, list[Any]] = {}
    for entry in entries:
        if entry.difference is not None:
            by_row.setdefault(entry.row, []).append(entry)
    return [
        f"{row}: every score is the baseline's, so what it varies did nothing here"
        for row, own in by_row.items()
        if not any((e.difference, e.difference_low, e.difference_high) != (0, 0, 0) for e in own)
    ]


def _state(own: Sequence[Any], outcome: dict[str, list[Any]]) -> str:
    """Why a row is not scored."""
    failed = next((job for job in own if job in outcome["failed"]), None)
    return f"failed: {failed.state().failed}" if failed else "in the hands of another process"


def _cost(own: Sequence[Any], summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds of the seconds, the largest memory, and the sizes of the first."""
    states = [job.state() for job in own]
    trained = [state.seconds["train"] for state in states if "train" in state.done]
    costs = [summary["cost"] for summary in summaries if summary["cost"]]
    found: dict[str, Any] = {"cut_short": any("train" in state.cut_short for state in states)}
    if trained:
        found["training_seconds"] = sum(trained) / len(trained)
    if costs:
        found |= {key: costs[0].get(key) for key in ("parameters", "trainable", "device")}
        found["seconds_per_picture"] = sum(c["seconds_per_picture"] for c in costs) / len(costs)
        found["peak_memory_bytes"] = max(c["peak_memory_bytes"] for c in costs)
    return found


def _write(
    result: dict[str, Any], matrix: Path, layout: Layout, folder: Path, pictures: int
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eval.ablation_page import ablation_page, markdown
    from toolkit.core.files import atomic_path

    make_folder(folder)
    write_atomic(folder / "ablation.json", json.dumps(result, indent=1) + "\n")
    write_atomic(folder / "ablation.md", markdown(result))
    text = matrix.read_text("utf-8")
    write_atomic(folder / "ablation.html", ablation_page(result, layout, text, pictures))
    if result["entries"]:
        with atomic_path(folder / "ablation.parquet") as path:
            pq.write_table(pa.Table.from_pylist(result["entries"]), path)


def _print(result: dict[str, Any], form: str) -> None:
    from eval.ablation_page import overview

    if form == "json":
        print(json.dumps(result, indent=1))
        return
    show(*overview(result), form)
    if form == "table":
        print("▲ better and ▼ worse than the baseline, · inside noise (Holm over the table)")
    for line in result["notes"]:
        print(line)


if __name__ == "__main__":
    command.run(main, "python -m eval.ablate")
