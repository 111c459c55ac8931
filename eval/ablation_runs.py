"""The runs of a matrix, made by processes: trained, stylised, scored, each stage one that ends.

runs/MATRIX/rows/RUN/state.json    the commands, those that are done, and their seconds
runs/MATRIX/rows/RUN/log.txt       what the commands said

A stage that is done with the same command is not done again; an unfinished training resumes.
Several processes may work on one matrix: each takes runs that no other one holds.
"""

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eval.matrix import Matrix, Row
from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder, write_atomic

STAGES = ("train", "stylize", "eval")
_STOPPED = (130, 143)


@dataclass(frozen=True)
class Places:
    """Folders of runs, tars and manifests."""

    runs: Path
    shards: Path
    manifests: Path

    @property
    def data(self) -> list[str]:
        """As flags."""
        return [f"--shards={self.shards}", f"--manifests={self.manifests}"]


@dataclass
class State:
    """What is known of a run: the command of each stage, the stages that are done, the seconds they
    took. running: the stage that was begun and did not end. cut_short: stages that were killed, so
    that part of their seconds is not known. replaces: what marks the run of other flags that is
    to be trained anew. failed: why it did not go on."""

    commands: dict[str, list[str]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    running: str = ""
    cut_short: list[str] = field(default_factory=list)
    replaces: str = ""
    failed: str = ""


@dataclass(frozen=True)
class Job:
    """A row trained with a seed. folder: of its state."""

    row: Row
    seed: int
    run: Path
    folder: Path
    commands: dict[str, list[str]]

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.row.name}, seed {self.seed}"

    @property
    def log(self) -> Path:
        """What its commands said."""
        return self.folder / "log.txt"

    def state(self) -> State:
        """What is known of it."""
        path = self.folder / "state.json"
        return State(**json.loads(path.read_text("utf-8"))) if path.is_file() else State()

    def keep(self, state: State) -> None:
        """Writes what is known of it."""
        write_atomic(self.folder / "state.json", json.dumps(asdict(state), indent=1) + "\n")

    def is_done(self, state: State) -> bool:
        """Whether all stages are."""
        return self.is_current(state, STAGES[-1])

    def is_current(self, state: State, stage: str) -> bool:
        """Whether a stage and all before it are done with today's commands."""
        before = STAGES[: STAGES.index(stage) + 1]
        return all(
            name in state.done and state.commands.get(name) == self.commands[name]
            for name in before
        )


def jobs_of(matrix: Matrix, places: Places) -> list[Job]:
    """All runs of a matrix: all rows with the first seed, then with the next."""
    jobs = []
    for seed in matrix.seeds:
        for row in matrix.rows:
            name = matrix.run_name(row, seed)
            run = places.runs / name
            train = [
                "-m", "train.run", matrix.method, f"--config={matrix.config}", f"--name={name}",
                f"--runs={places.runs}", *places.data, f"--seed={seed}", *_flags(row.flags),
            ]  # fmt: skip
            of_run = [f"--run={run}", *places.data]
            commands = {
                "train": train,
                "stylize": ["-m", "train.stylize", *of_run, *_flags(matrix.stylize)],
                "eval": ["-m", "eval.run", *of_run, *_flags(matrix.evaluate)],
            }
            folder = places.runs / matrix.name / "rows" / name
            jobs.append(Job(row, seed, run, folder, commands))
    return jobs


def _flags(flags: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def refuse_others(jobs: Sequence[Job], overwrite: bool) -> None:
    """Raises UserError for runs under these names that were trained otherwise."""
    for job in jobs:
        then = job.state().commands.get("train")
        there = job.run.exists() and any(job.run.iterdir())
        if overwrite or not there or then == job.commands["train"]:
            continue
        if then is None:
            raise UserError(f"{job.run} is there and not of this matrix: choose another --name")
        gone = [word for word in then if word not in job.commands["train"]]
        new = [word for word in job.commands["train"] if word not in then]
        raise UserError(
            f"{job.run} was trained otherwise (then {' '.join(gone) or 'without'}, now "
            f"{' '.join(new) or 'without'}): --overwrite trains it anew, another --name keeps both"
        )


def work(
    jobs: Sequence[Job], overwrite: bool, is_scored: Callable[[Job], bool]
) -> dict[str, list[Job]]:
    """Does all that is not done yet; a run that fails does not keep the others from going on.

    Args:
        overwrite: train what was trained with other flags anew.
        is_scored: whether the scores of a job whose stages are done are there.

    Returns:
        The jobs by what became of them: done, failed, elsewhere (another process has them).

    Raises:
        KeyboardInterrupt: stopped, after the running stage kept what it had.
    """
    outcome: dict[str, list[Job]] = {"done": [], "failed": [], "elsewhere": []}
    for number, job in enumerate(jobs, 1):
        with contextlib.ExitStack() as stack:
            try:
                handle = stack.enter_context(held(make_folder(job.folder), "busy"))
            except UserError:
                outcome["elsewhere"].append(job)
                continue
            label = f"[{number}/{len(jobs)}] {job.label}"
            failed = _do(job, label, overwrite, handle, is_scored)
            outcome["failed" if failed else "done"].append(job)
    return outcome


def _do(
    job: Job, label: str, overwrite: bool, handle: int, is_scored: Callable[[Job], bool]
) -> bool:
    """All stages of a job that are not done yet; whether one failed."""
    state = job.state()
    for stage in STAGES:
        is_current = job.is_current(state, stage)
        if is_current and not (stage == STAGES[-1] and not is_scored(job)):
            continue
        command = _command(job, stage, state, overwrite)
        _begin(job, state, stage)
        print(f"{label}: {stage} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            code = _run(command, job.log, handle)
        finally:
            state.seconds[stage] = state.seconds.get(stage, 0.0) + time.monotonic() - began
            state.running = ""
            job.keep(state)
        if code:
            state.failed = f"{stage}: {_last_line(job.log)}"
            job.keep(state)
            print(f"{label}: {state.failed} (all of it: {job.log})", file=sys.stderr, flush=True)
            return True
        state.done.append(stage)
        job.keep(state)
        took = f"{label}: {stage} done in {time.monotonic() - began:.0f} s"
        print(took, file=sys.stderr, flush=True)
    return False


def _command(job: Job, stage: str, state: State, overwrite: bool) -> list[str]:
    """The command of a stage; of a training that was begun, the one that goes on with it."""
    command, there = job.commands[stage], _mark(job.run)
    if stage != "train" or not there:
        return command
    if state.commands.get("train") != command:
        assert overwrite
        state.replaces = there
    if state.replaces == there:  # the new training did not begin yet
        return [*command, "--overwrite"]
    return [*(part for part in command if not part.startswith("--epochs=")), "--resume"]


def _mark(run: Path) -> str:
    """What tells a run from another one that was begun in its folder; "" for none."""
    config = run / "config.toml"
    if not config.is_file():
        return ""
    return f"{config.stat().st_mtime_ns} {hashlib.sha256(config.read_bytes()).hexdigest()}"


def _begin(job: Job, state: State, stage: str) -> None:
    """Notes that a stage runs; it and those after it are not done."""
    if state.commands.get(stage) != job.commands[stage] or stage in state.done:  # from its start
        state.seconds.pop(stage, None)
        state.cut_short = [name for name in state.cut_short if name != stage]
    elif state.running == stage:
        state.cut_short.append(stage)
    state.commands[stage] = job.commands[stage]
    state.done = [name for name in state.done if STAGES.index(name) < STAGES.index(stage)]
    state.running, state.failed = stage, ""
    job.keep(state)


def _run(command: Sequence[str], log: Path, handle: int) -> int:
    """The exit code of a process. It inherits `handle`, so what it works on stays held if this one
    is killed, and has a process group of its own, so that it gets each signal once.

    Raises KeyboardInterrupt when this process was to stop, once the other one has.
    """
    with open(log, "ab") as out:
        out.write(f"$ python {' '.join(command)}\n".encode())
        out.flush()
        process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, pass_fds=(handle,), process_group=0,
        )  # fmt: skip
    received = []

    def forward(number: int, _: Any) -> None:
        received.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received or code in _STOPPED:
        raise KeyboardInterrupt("the same command goes on where it stopped")
    return code


def rehearse(jobs: Sequence[Job], steps: int) -> int:
    """Does a few steps of each row's training, keeps nothing, and prints what its training takes.
    Returns the number of rows that failed."""
    failed = 0
    seeds = len({job.seed for job in jobs})
    for job in jobs[: len(jobs) // seeds]:
        command = [*job.commands["train"], f"--limit={steps}"]
        done = subprocess.run(
            [sys.executable, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        failed += done.returncode != 0
        text = done.stdout if done.returncode == 0 else done.stderr
        print(f"{job.row.name}: {(text.strip().splitlines() or ['nothing said'])[-1]}", flush=True)
    if seeds > 1:
        print(f"each of them {seeds} times, once a seed")
    return failed


def _last_line(log: Path) -> str:
    """The last thing that was said, an error before all else."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    start = max(number for number, line in enumerate(lines) if line.startswith("$ "))
    errors = [line for line in lines[start:] if line.startswith("error: ")]
    return (errors or lines)[-1]
