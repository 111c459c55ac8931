"""Memory of machines and control groups, as their files tell it; pressure and growth."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.core import memory
from toolkit.core.errors import OutOfMemory
from toolkit.core.memory import (
    Memory,
    MemoryWatch,
    anonymous_bytes,
    measure,
    wait_below,
    watched,
)

ROOT = Path(__file__).resolve().parents[3]
MEGA = 1 << 20


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


HOST = {"proc/meminfo": "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:   400 kB\nHuge:\n"}


def test_of_the_host_what_could_be_had_does_not_count(tmp_path: Path) -> None:
    assert measure(write(tmp_path, HOST)) == [Memory("host", 600 * 1024, 1000 * 1024)]
    assert measure(tmp_path / "nowhere") == []


def test_the_tightest_group_of_version_2_counts_without_files(tmp_path: Path) -> None:
    groups = {
        "proc/self/cgroup": "0::/jobs/seven\n",
        "sys/fs/cgroup/jobs/seven/memory.max": "max\n",
        "sys/fs/cgroup/jobs/seven/memory.current": "900\n",
        "sys/fs/cgroup/jobs/memory.max": "1000\n",
        "sys/fs/cgroup/jobs/memory.current": "950\n",
        "sys/fs/cgroup/jobs/memory.stat": "anon 600\ninactive_file 200\nactive_file 100\n",
    }
    assert measure(write(tmp_path, HOST | groups))[1:] == [Memory("cgroup", 650, 1000)]


def test_groups_of_version_1_and_those_inside_a_container(tmp_path: Path) -> None:
    groups = {
        "proc/self/cgroup": "4:cpu:/x\n3:memory:/outside/name\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "1900\n",
        "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 500\ntotal_active_file 0\n",
    }
    assert measure(write(tmp_path, HOST | groups))[1:] == [Memory("cgroup", 1400, 2000)]
    write(tmp_path, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert len(measure(tmp_path)) == 1


def test_pressure_is_the_fullest_above_the_limit_and_looked_for_seldom() -> None:
    looks = []

    def more() -> list[Memory]:
        looks.append(1)
        return [Memory("GPU 0", 99, 100), Memory("GPU 1", 98, 100)]

    watch = MemoryWatch(0.97, every_s=3600, more=more)
    assert str(watch.pressure()) == "GPU 0 memory at 99% (0.00 of 0.00 GB)"
    assert watch.pressure() is None
    assert len(looks) == 1
    assert not wait_below(watch, 0.01, pause_s=0.005)
    assert wait_below(MemoryWatch(0.995, more=more), 0.01)


def test_watched_work_does_less_pauses_and_stops_in_good_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    used, lowered, done = [50], [], []

    def lower() -> bool:
        lowered.append(len(done))
        used[0] = 50  # this time it helps
        return True

    watch = MemoryWatch(0.9, every_s=0, more=lambda: [Memory("GPU 0", used[0], 100)])
    watch.limit = max(0.9, *(found.share for found in measure()))  # whatever this machine does
    for step in watched(range(4), watch, lower, "free some", pause_s=0):
        done.append(step)
        used[0] = 100 if step == 2 else 50
    assert (done, lowered) == ([0, 1, 2, 3], [3])
    assert "GPU 0 memory at 100%" in capsys.readouterr().err
    steps = watched(range(4), watch, lambda: False, "free some", pause_s=0)
    next(steps)
    used[0] = 100
    with pytest.raises(OutOfMemory, match=r"stopped: GPU 0 memory .* after a pause; free some"):
        next(steps)
    assert OutOfMemory.exit_code == 75


@pytest.mark.parametrize(
    ("sizes", "is_rising"),
    [
        ([100, 110, 120, 130, 140, 150, 160, 170], True),
        ([100, 110, 120, 130, 129, 150, 160, 170], False),  # it fell once
        ([100, 101, 102, 103, 104, 105, 106, 107], False),  # by little
        ([100, 110, 120, 130, 140, 150, 160], False),  # not for long
    ],
)
def test_growth_is_told_when_it_is_steady_and_large(
    sizes: list[int], is_rising: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, clock, size = MemoryWatch(0.99, every_s=0, window_s=10), [0.0], [0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(memory, "anonymous_bytes", lambda: size[0] * MEGA)
    monkeypatch.setattr(memory, "measure", lambda: [Memory("host", 1, 1000 * MEGA)])
    for value in sizes:
        for extra in (0, 300, 40):  # peaks within a window do not count
            size[0] = value + extra
            clock[0] += 3.5
            watch.pressure()
    assert bool(watch.rising()) == is_rising
    if is_rising:
        assert watch.rising() == "memory of this process rose by 73 MB in 1.2 minutes"
        watch.limit = 1.0  # for never
        assert not watch.rising()


def test_anonymous_memory_is_what_this_process_has_written_to() -> None:
    before = anonymous_bytes()
    block = bytearray(64 * MEGA)
    assert anonymous_bytes() - before > 60 * MEGA
    assert block


@pytest.fixture
def group() -> Iterator[Path]:
    """A real control group of version 1 with a limit of 300 MB."""
    folder = Path("/sys/fs/cgroup/memory") / f"tessera-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(300 * MEGA))
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    yield folder
    folder.rmdir()


def test_a_real_control_group_is_found_and_pressure_seen(group: Path) -> None:
    program = """
import os, sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
from toolkit.core.memory import MemoryWatch, measure
print([m.limit for m in measure() if m.name == "cgroup"])
watch = MemoryWatch(every_s=0)
print(watch.pressure())
block = bytearray(270 << 20)
print(watch.pressure())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(group)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    limit, before, after = done.stdout.splitlines()
    assert limit == f"[{300 * MEGA}]"
    assert before == "None"
    assert after.startswith("cgroup memory at 9")
