"""Runs made by processes, stage after stage, each a process that ends.

FOLDER/state.json    the commands, those that are done, and their seconds
FOLDER/log.txt       what the commands said

A stage that is done with the same command is not done again; an unfinished training resumes.
Several processes may work on the same jobs: each takes those that no other one holds.
"""

import contextlib
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder, write_atomic
from toolkit.core.job_progress import Running, telling
from toolkit.core.log import VARIABLE, note, warn

TRAIN = "train"
_STOPPED = (130, 143)
_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class State:
    """What is known of a job: the command of each stage, the stages that are done, the seconds they
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
class Places:
    """Folders of runs, tars and manifests."""

    runs: Path
    shards: Path
    manifests: Path

    @property
    def data(self) -> list[str]:
        """As flags."""
        return [f"--shards={self.shards}", f"--manifests={self.manifests}"]


def words_of(flags: Mapping[str, str]) -> list[str]:
    """Flags as words of a command line."""
    return [f"--{name}={value}" for name, value in flags.items()]


@dataclass(frozen=True)
class Job:
    """One run. label: for people. run: its folder; folder: of the job's state; commands: arguments
    of Python by stage, in order; the stage `train` is one of train.run."""

    label: str
    run: Path
    folder: Path
    commands: Mapping[str, list[str]]

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
        return self.is_current(state, list(self.commands)[-1])

    def is_current(self, state: State, stage: str) -> bool:
        """Whether a stage and all before it are done with today's commands."""
        names = list(self.commands)
        return all(
            name in state.done and state.commands.get(name) == self.commands[name]
            for name in names[: names.index(stage) + 1]
        )


def refuse_others(jobs: Sequence[Job], overwrite: bool, owner: str = "matrix") -> None:
    """Raises UserError for runs under these names that were trained otherwise. owner: what the jobs
    are of, for the message."""
    for job in jobs:
        then, now = job.state().commands.get(TRAIN), job.commands[TRAIN]
        there = job.run.exists() and any(job.run.iterdir())
        if overwrite or not there or then == now:
            continue
        if then is None:
            raise UserError(f"{job.run} is there and not of this {owner}: choose another --name")
        gone = [word for word in then if word not in now]
        new = [word for word in now if word not in then]
        raise UserError(
            f"{job.run} was trained otherwise (then {' '.join(gone) or 'without'}, now "
            f"{' '.join(new) or 'without'}): --overwrite trains it anew, another --name keeps both"
        )


def work(
    jobs: Sequence[Job],
    overwrite: bool,
    is_whole: Callable[[Job], bool] = lambda _: True,
    slots: Sequence[Mapping[str, str]] = ({},),
    retries: int = 0,
    every_s: float = 15.0,
) -> dict[str, list[Job]]:
    """Does all that is not done yet; a job that fails does not keep the others from going on.

    Args:
        jobs: in the order in which they are begun.
        overwrite: train what was trained with other flags anew.
        is_whole: whether what the last stage of a job that is done made is still there.
        slots: what the environment of the processes has besides; as many jobs run at once.
        retries: how often a stage that fails is begun again, a training where it stopped.
        every_s: seconds between two lines that tell where the running stages are.

    Returns:
        The jobs by what became of them: done, failed, elsewhere (another process has them).

    Raises:
        KeyboardInterrupt: stopped, after the running stages kept what they had.
    """
    crew = _Crew(jobs, overwrite, is_whole, retries)
    threads = [threading.Thread(target=crew.take, args=(dict(slot),)) for slot in slots]
    with crew.heeding_signals(), telling(crew.running, crew.finished, every_s):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if crew.error is not None:
        raise crew.error
    if crew.is_stopped:
        raise KeyboardInterrupt("the same command goes on where it stopped")
    return {
        what: [job for job in jobs if crew.outcome.get(job.label) == what]
        for what in ("done", "failed", "elsewhere")
    }


class _Crew:
    """Threads that take jobs, one after the other, and the processes that they wait for."""

    def __init__(
        self, jobs: Sequence[Job], overwrite: bool, is_whole: Callable[[Job], bool], retries: int
    ):
        self._overwrite, self._is_whole, self._count = overwrite, is_whole, len(jobs)
        self._retries, self._at_work = retries, dict[str, Running]()
        self._todo: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
        for numbered in enumerate(jobs, 1):
            self._todo.put(numbered)
        self._lock = threading.RLock()  # a signal comes to the main thread, wherever it is
        self._running: list[subprocess.Popen[bytes]] = []
        self.outcome: dict[str, str] = {}
        self.is_stopped = False
        self.error: Exception | None = None

    def running(self) -> list[Running]:
        """The stages at work."""
        with self._lock:
            return list(self._at_work.values())

    def finished(self) -> str:
        """How many jobs have ended."""
        return f"{len(self.outcome)} of {self._count} ended"

    @contextlib.contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Inside, a signal to stop goes to all processes, and no other job is begun."""

        def forward(number: int, _: Any) -> None:
            with self._lock:
                self.is_stopped = True
                for process in self._running:
                    process.send_signal(number)

        before = {number: signal.signal(number, forward) for number in _STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def take(self, environment: dict[str, str]) -> None:
        """Does jobs until there are none left."""
        try:
            while not self.is_stopped:
                number, job = self._todo.get_nowait()
                with contextlib.ExitStack() as stack:
                    try:
                        handle = stack.enter_context(held(make_folder(job.folder), "busy"))
                    except UserError:
                        self.outcome[job.label] = "elsewhere"
                        continue
                    label = f"[{number}/{self._count}] {job.label}"
                    done = self._do(job, label, handle, environment)
                    if done is not None:
                        self.outcome[job.label] = "done" if done else "failed"
        except queue.Empty:
            pass
        except Exception as error:
            with self._lock:
                self.error, self.is_stopped = error, True
                for process in self._running:
                    process.send_signal(signal.SIGINT)

    def _do(self, job: Job, label: str, handle: int, environment: dict[str, str]) -> bool | None:
        """All stages of a job that are not done yet: whether that went well, None when stopped."""
        state, stages = job.state(), list(job.commands)
        for stage in stages:
            is_current = job.is_current(state, stage)
            if is_current and (stage != stages[-1] or self._is_whole(job)):
                continue
            began = time.monotonic()
            for again in range(self._retries + 1):
                code = self._try(job, stage, state, label, handle, environment)
                if not code or code in _STOPPED or self.is_stopped or again == self._retries:
                    break
                why = _last_line(job.log)
                warn(f"{label}: {stage}: {why}; again")
            if self.is_stopped or code in _STOPPED:
                self.is_stopped = True
                return None
            if code:
                state.failed = f"{stage}: {_last_line(job.log)}"
                job.keep(state)
                warn(f"{label}: {state.failed} (all of it: {job.log})")
                return False
            state.done.append(stage)
            job.keep(state)
            took = f"{label}: {stage} done in {time.monotonic() - began:.0f} s"
            note(took)
        return True

    def _try(
        self, job: Job, stage: str, state: State, label: str, handle: int,
        environment: dict[str, str],
    ) -> int:  # fmt: skip
        """The exit code of a stage, whose seconds are noted."""
        command = _command(job, stage, state, self._overwrite)
        _begin(job, state, stage)
        note(f"{label}: {stage} …")
        began = time.monotonic()
        with self._lock:
            self._at_work[job.label] = Running(job.label, job.run, stage, began)
        try:
            return self._run(command, job.log, handle, environment)
        finally:
            with self._lock:
                self._at_work.pop(job.label, None)
            state.seconds[stage] = state.seconds.get(stage, 0.0) + time.monotonic() - began
            state.running = ""
            job.keep(state)

    def _run(
        self, command: Sequence[str], log: Path, handle: int, environment: dict[str, str]
    ) -> int:
        """The exit code of a process. It inherits `handle`, so what it works on stays held if this
        one is killed, and has a process group of its own, so that it gets each signal once."""
        with open(log, "ab") as out:
            out.write(f"$ python {' '.join(command)}\n".encode())
            out.flush()
            with self._lock:
                if self.is_stopped:
                    return _STOPPED[0]
                process = subprocess.Popen(
                    [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, pass_fds=(handle,), process_group=0,
                    env={**os.environ, VARIABLE: "plain", **environment},
                )  # fmt: skip
                self._running.append(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.remove(process)


def _command(job: Job, stage: str, state: State, overwrite: bool) -> list[str]:
    """The command of a stage; of a training that was begun, the one that goes on with it."""
    command, there = job.commands[stage], _mark(job.run)
    if stage != TRAIN or not there:
        return command
    if state.commands.get(TRAIN) != command:
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
    stages = list(job.commands)
    if state.commands.get(stage) != job.commands[stage] or stage in state.done:  # from its start
        state.seconds.pop(stage, None)
        state.cut_short = [name for name in state.cut_short if name != stage]
    elif state.running == stage:
        state.cut_short.append(stage)
    state.commands[stage] = job.commands[stage]
    before = stages[: stages.index(stage)]
    state.done = [name for name in state.done if name in before]
    state.running, state.failed = stage, ""
    job.keep(state)


def _last_line(log: Path) -> str:
    """The last thing that was said, an error before all else."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    start = max(number for number, line in enumerate(lines) if line.startswith("$ "))
    errors = [line for line in lines[start:] if line.startswith("error: ")]
    return (errors or lines)[-1]
