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
import time
from pathlib import Path

import fire

from bench.pictures import write_jpegs
from bench.timing import machine, write_results


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
    packing = subprocess.Popen(
        [sys.executable, "-m", "toolkit.pack", "folder", f"--src={pictures}", "--name=small",
         f"--shards={out / 's'}", f"--manifests={out / 'm'}", "--jobs=2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    peak = 0.0
    while packing.poll() is None:
        peak = max(peak, sum(map(anonymous_bytes, _family(packing.pid))))
        time.sleep(0.05)
    if packing.returncode:
        raise RuntimeError("the pack failed")
    return peak


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(p for child in children for p in _family(int(child)))]


def anonymous_bytes(pid: int | str) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((float(x.split()[1]) * 1024 for x in text.splitlines() if "RssAnon" in x), 0.0)


if __name__ == "__main__":
    fire.Fire(main)
