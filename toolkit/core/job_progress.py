"""Tells every few seconds where the processes of a queue are."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from toolkit.core.log import progress

_TAIL = 8192  # bytes of a log in which its last step stands


class Running(NamedTuple):
    """A stage at work. label: of its job; run: its folder; began: by the monotonic clock."""

    label: str
    run: Path
    stage: str
    began: float


@contextlib.contextmanager
def telling(
    running: Callable[[], list[Running]], finished: Callable[[], str], every_s: float
) -> Iterator[None]:
    """Inside, prints a line on stderr every few seconds while something runs."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(every_s):
            if now := running():
                told = "; ".join(describe(one) for one in now)
                progress("queue", f"{finished()}; {told}", running=[one.label for one in now])

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def describe(one: Running) -> str:
    """`03: train, step 120, loss 0.413, 35 s`, as far as the run's log tells."""
    parts = [f"{one.label}: {one.stage}"]
    if one.stage == "train" and (last := last_step(one.run / "log.jsonl")):
        parts += [f"step {last['step']:.0f}", f"loss {last['loss']:.4g}"]
    return ", ".join([*parts, f"{time.monotonic() - one.began:.0f} s"])


def last_step(log: Path) -> dict[str, float]:
    """The last record of a training step, from the end of a log; empty where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "loss" in record:
                return record
    return {}
