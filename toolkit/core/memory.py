"""How much memory there is and how much is in use: of the machine, of the control group that a
container or a job scheduler sets, and of whatever else a caller measures.

Above a share of any of them, long work lowers what it does at once, waits, and in the end stops in
good order, instead of being killed.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from toolkit.core.errors import OutOfMemory
from toolkit.core.log import warn

Step = TypeVar("Step")
LIMIT = 0.85
_NO_LIMIT = 1 << 60
_WINDOWS, _LEAST_GROWTH = 8, 0.02


@dataclass(frozen=True)
class Memory:
    """What has how much. name: host, cgroup, GPU 0; used, limit: in bytes."""

    name: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """Of the limit that is used."""
        return self.used / self.limit

    def __str__(self) -> str:
        return (
            f"{self.name} memory at {self.share:.0%} ({self.used / 1e9:.2f} of "
            f"{self.limit / 1e9:.2f} GB)"
        )


def measure(root: Path = Path("/")) -> list[Memory]:
    """The machine's memory, and the control group's where it has a limit. What the system keeps of
    files, and can give back at once, does not count. root: of the file system, for tests."""
    found = []
    info = _numbers(root / "proc/meminfo")
    if "MemTotal" in info and "MemAvailable" in info:
        total = info["MemTotal"] * 1024
        found.append(Memory("host", total - info["MemAvailable"] * 1024, total))
    groups = [group for group in _control_groups(root) if group.limit < _NO_LIMIT]
    if groups:
        found.append(max(groups, key=lambda group: group.share))
    return found


class MemoryWatch:
    """Looks at memory now and then, seldom enough to cost nothing.

    Args:
        limit: the share of any memory above which there is pressure.
        every_s: seconds between two looks.
        window_s: seconds after which growth of this process is looked at again.
        more: measures other memories, as that of GPUs.
    """

    def __init__(
        self,
        limit: float = LIMIT,
        every_s: float = 1.0,
        window_s: float = 60.0,
        more: Callable[[], Iterable[Memory]] = tuple,
    ):
        self.limit, self._every_s, self._window_s, self._more = limit, every_s, window_s, more
        self._looked, self._window_began = -math.inf, 0.0  # a machine may just have started
        self._least: deque[int] = deque(maxlen=_WINDOWS)

    def pressure(self) -> Memory | None:
        """The fullest memory where it is above the limit; None in between two looks."""
        now = time.monotonic()
        if now - self._looked < self._every_s:
            return None
        self._looked = now
        self._note(now)
        return self.fullest_above()

    def fullest_above(self) -> Memory | None:
        """As `pressure`, at once."""
        fullest = max([*measure(), *self._more()], key=lambda memory: memory.share, default=None)
        return fullest if fullest and fullest.share > self.limit else None

    def rising(self) -> str:
        """How this process has grown, where it has grown in each of the last windows and by more
        than a fiftieth of the memory; otherwise nothing, and nothing at a limit of 1 and more."""
        least = list(self._least)
        if self.limit >= 1 or len(least) < _WINDOWS or any(b <= a for a, b in pairwise(least)):
            return ""
        limits = [memory.limit for memory in measure()]
        grown = least[-1] - least[0]
        if not limits or grown < _LEAST_GROWTH * min(limits):
            return ""
        minutes = (_WINDOWS - 1) * self._window_s / 60
        return f"memory of this process rose by {grown / 1e6:.0f} MB in {minutes:.1f} minutes"

    def _note(self, now: float) -> None:
        """Keeps the least size of each window, since peaks come and go."""
        size = anonymous_bytes()
        if not self._least or now - self._window_began >= self._window_s:
            self._least.append(size)
            self._window_began = now
        elif size < self._least[-1]:
            self._least[-1] = size


def anonymous_bytes(pid: int | str = "self") -> int:
    """Memory of a process that no file backs (RssAnon), 0 where the system does not tell."""
    return _numbers(Path(f"/proc/{pid}/status")).get("RssAnon", 0) * 1024


def wait_below(watch: MemoryWatch, seconds: float, pause_s: float = 0.5) -> bool:
    """Waits until memory is below the limit again; whether it was before the time ran out."""
    end = time.monotonic() + seconds
    while watch.fullest_above():
        if time.monotonic() >= end:
            return False
        time.sleep(pause_s)
    return True


def _control_groups(root: Path) -> list[Memory]:
    """This process's control groups from its own up to the root, of version 2 or 1."""
    found = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        names = _NAMES[controllers]
        top = root / "sys/fs/cgroup" / controllers
        parts = [part for part in path.split("/") if part]
        # within a container its own group is mounted as the root
        folders = [top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
        for folder in folders:
            limit, used = (_number(folder / name) for name in names.limit_and_use)
            if limit is None or used is None:
                continue
            stat = _numbers(folder / "memory.stat")
            kept = sum(stat.get(name, 0) for name in names.of_files)
            found.append(Memory("cgroup", max(0, used - kept), limit))
    return found


@dataclass(frozen=True)
class _Names:
    limit_and_use: tuple[str, str]
    of_files: tuple[str, str]


_NAMES = {
    "": _Names(("memory.max", "memory.current"), ("inactive_file", "active_file")),
    "memory": _Names(
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("total_inactive_file", "total_active_file"),
    ),
}


def _numbers(path: Path) -> dict[str, int]:
    """Name to number of lines as `MemTotal:   123 kB` and `inactive_file 123`."""
    found = {}
    for line in _lines(path):
        name, *values = line.replace(":", " ").split()
        if values and values[0].isdigit():
            found[name] = int(values[0])
    return found


def _number(path: Path) -> int | None:
    text = next(iter(_lines(path)), "").strip()
    return int(text) if text.isdigit() else _NO_LIMIT if text == "max" else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:
        return []


def relieve(watch: MemoryWatch, lower: Callable[[], bool], seconds: float = 30.0) -> str:
    """What long work calls between two of its steps.

    Under pressure it lowers what is done at once, gives memory back, and waits.

    Args:
        watch: looks at memory.
        lower: lowers parallelism; whether there was something to lower.
        seconds: to wait for memory.

    Returns:
        Why the work has to stop; nothing where it may go on.
    """
    full = watch.pressure()
    if full:
        lowered = lower()
        give_back()
        done = "less is done at once from now on" if lowered else "nothing is left to do less of"
        warn(f"{full}, above {watch.limit:.0%}: pausing; {done}")
        if not wait_below(watch, seconds):
            return f"{watch.fullest_above() or full}, above {watch.limit:.0%}, after a pause"
    return watch.rising()


def watched(
    steps: Iterable[Step], watch: MemoryWatch, lower: Callable[[], bool], advice: str,
    pause_s: float = 30.0,
) -> Iterator[Step]:  # fmt: skip
    """The steps of long work, with a look at memory behind each.

    Args:
        steps: of any kind.
        watch: looks at memory.
        lower: lowers parallelism; whether there was something to lower.
        advice: what to do when it has to stop.
        pause_s: seconds to wait for memory before it does.

    Raises:
        OutOfMemory: memory stays short.
    """
    for step in steps:
        yield step
        if why := relieve(watch, lower, pause_s):
            raise OutOfMemory(f"stopped: {why}; {advice}")


def give_back() -> None:
    """Asks the C library to return what it holds unused."""
    import ctypes
    import gc

    gc.collect()
    if os.name == "posix":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)
