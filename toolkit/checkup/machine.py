"""Cores, memory, disks, shared memory and open files of this machine."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from toolkit.checkup.finding import Finding
from toolkit.core.memory import measure

_LEAST_DISK = 5e9
_LEAST_SHARED = 1e9
_LEAST_FILES = 1024
_LEAST_MEMORY = 4e9


def look_at_machine(root: Path = Path("/")) -> Iterator[Finding]:
    """root: of the file system, for tests."""
    yield from _cores(root)
    for memory in measure(root):
        free = memory.limit - memory.used
        where = "the control group" if memory.name == "cgroup" else "the machine"
        found = f"{free / 1e9:.1f} of {memory.limit / 1e9:.1f} GB free, of {where}"
        short = free < _LEAST_MEMORY
        yield Finding(
            "machine", f"memory ({memory.name})", "warning" if short else "ok", found,
            "--data.workers=0 --data.max_bytes=100000000, or end what else runs" if short else "",
        )  # fmt: skip
    shared = root / "dev/shm"
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        yield Finding(
            "machine", "shared memory", "ok" if free >= _LEAST_SHARED else "warning",
            f"{free / 1e9:.2f} GB free in {shared}",
            "" if free >= _LEAST_SHARED else
            "docker run --shm-size=8g …; or mount -o remount,size=8G /dev/shm",
        )  # fmt: skip
    yield from _open_files()


def look_at_disks(places: Mapping[str, Path]) -> Iterator[Finding]:
    """Room where things are written. places: by what lies there."""
    for what, place in places.items():
        there = place.expanduser().absolute()
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        is_writable = os.access(there, os.W_OK)
        told = f"{free / 1e9:.1f} GB free at {place}"
        if place.absolute() != there and not place.exists():
            told += ", not there yet"
        if not is_writable:
            yield Finding("disk", what, "warning", f"{told}, not writable", f"chmod u+w {there}")
        elif free < _LEAST_DISK:
            yield Finding("disk", what, "warning", told, f"du -xh {there} | sort -h | tail")
        else:
            yield Finding("disk", what, "ok", told)


def hub_cache() -> Path:
    """Where the hub's library keeps downloads, as its documentation has it."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / (
        "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _cores(root: Path) -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{usable} usable of {os.cpu_count()}"
    if share := _share_of_cores(root):
        found += f"; the control group grants {share:g}"
    yield Finding("machine", "CPU cores", "ok", found)


def _share_of_cores(root: Path) -> float:
    """Cores that the control group grants, 0 for no limit (version 2, then 1)."""
    group = root / "sys/fs/cgroup"
    try:
        quota, period = (group / "cpu.max").read_text("utf-8").split()
    except (OSError, ValueError):
        try:
            folder = group / "cpu"
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text("utf-8").strip()
                for name in ("quota", "period")
            )
        except OSError:
            return 0.0
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return 0.0
    return round(int(quota) / int(period), 2)


def _open_files() -> Iterator[Finding]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    is_fine = soft == endless or soft >= _LEAST_FILES
    told = "no limit" if soft == endless else f"at most {soft} at once"
    may_rise = "" if hard == endless else f", up to {hard} may be asked for"
    yield Finding(
        "machine", "open files", "ok" if is_fine else "warning",
        told if is_fine else told + may_rise, "" if is_fine else f"ulimit -n {_LEAST_FILES}",
    )  # fmt: skip
