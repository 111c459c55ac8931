"""Anonymous memory of packing 10,000 and 100,000 samples.

    python -m bench.memory [--few=10000] [--many=100000]

The files are hard links to a few hundred small JPEGs under many names, so that a hundred thousand
of them fit anywhere. RssAnon of the packing process and of its workers is sampled twenty times a
second; the largest sum is what counts.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fire

from bench.pictures import write_jpegs
from bench.timing import machine, write_results
from toolkit.core.memory import anonymous_bytes


def main(few: int = 10_000, many: int = 100_000, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/memory.json."""
    root = Path(folder)
    origin = sorted(write_jpegs(root / "small", 500, size=96).rglob("*.jpg"))
    rows = []
    for count in (few, many):
        pictures = root / f"links-{count}"
        for number in range(count):
            path = pictures / f"{number // 5000:04d}" / f"{number:07d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                os.link(origin[number % len(origin)], path)
        rows.append({"samples": count, "rss_anon_mb": round(_peak(root, pictures) / 1e6, 1)})
    ratio = rows[1]["rss_anon_mb"] / rows[0]["rss_anon_mb"]
    write_results("memory", machine(), [*rows, {"name": "many / few", "ratio": round(ratio, 3)}])


def _peak(root: Path, pictures: Path) -> float:
    out = root / "ours"
    shutil.rmtree(out, ignore_errors=True)
    return peak_of([
        "toolkit.pack", "folder", f"--src={pictures}", "--name=small", f"--shards={out / 's'}",
        f"--manifests={out / 'm'}", "--jobs=2",
    ])  # fmt: skip


def peak_of(command: list[str]) -> float:
    """Largest RssAnon of a module's process and of those it starts, in bytes. Raises RuntimeError
    if it fails."""
    running = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0.0
    while running.poll() is None:
        peak = max(peak, sum(map(anonymous_bytes, _family(running.pid))))
        time.sleep(0.05)
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    return peak


@contextmanager
def largest() -> Iterator[list[float]]:
    """One number, this process's largest RssAnon inside, in megabytes; there at the end."""
    found, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            found[0] = max(found[0], anonymous_bytes() / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        is_over.set()
        watcher.join()
        found[0] = round(found[0], 1)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(p for child in children for p in _family(int(child)))]


if __name__ == "__main__":
    fire.Fire(main)
