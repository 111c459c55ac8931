"""The runs of a matrix: trained, stylised, scored, each stage a process (toolkit.core.run_jobs).

runs/MATRIX/rows/RUN/    what is known of each
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.core.log import VARIABLE
from toolkit.core.matrix import Matrix, Row
from toolkit.core.run_jobs import TRAIN, Job, Places, words_of

STAGES = (TRAIN, "stylize", "eval")


@dataclass(frozen=True)
class RowJob(Job):
    """A row trained with a seed."""

    row: Row
    seed: int


def jobs_of(matrix: Matrix, places: Places) -> list[RowJob]:
    """All runs of a matrix: all rows with the first seed, then with the next."""
    jobs = []
    for seed in matrix.seeds:
        for row in matrix.rows:
            name = matrix.run_name(row, seed)
            run = places.runs / name
            train = [
                "-m", "train.run", matrix.method, f"--config={matrix.config}", f"--name={name}",
                f"--runs={places.runs}", *places.data, f"--seed={seed}", *words_of(row.flags),
            ]  # fmt: skip
            of_run = [f"--run={run}", *places.data]
            commands = {
                "train": train,
                "stylize": ["-m", "train.stylize", *of_run, *words_of(matrix.stylize)],
                "eval": ["-m", "eval.run", *of_run, *words_of(matrix.evaluate)],
            }
            folder = places.runs / matrix.name / "rows" / name
            jobs.append(RowJob(f"{row.name}, seed {seed}", run, folder, commands, row, seed))
    return jobs


def rehearse(jobs: Sequence[RowJob], steps: int) -> int:
    """Does a few steps of each row's training, keeps nothing, and prints what its training takes.
    Returns the number of rows that failed."""
    failed = 0
    seeds = len({job.seed for job in jobs})
    for job in jobs[: len(jobs) // seeds]:
        command = [*job.commands[TRAIN], f"--limit={steps}"]
        done = subprocess.run(
            [sys.executable, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, env={**os.environ, VARIABLE: "plain"},
        )  # fmt: skip
        failed += done.returncode != 0
        text = done.stdout if done.returncode == 0 else done.stderr
        print(f"{job.row.name}: {(text.strip().splitlines() or ['nothing said'])[-1]}", flush=True)
    if seeds > 1:
        print(f"each of them {seeds} times, once a seed")
    return failed
