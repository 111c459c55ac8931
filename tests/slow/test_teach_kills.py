"""Twenty kills at random moments of making targets, by one process and by two: the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, digests_of, words_of
from tests.fork_server import fork_server
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

pytestmark = pytest.mark.slow
KILLS = 20
STRICT = "[leak]\nfair = 0.0\nrefused = 0.04\n"
"""Limits that refuse many pictures, so that many targets take several attempts."""


def start(layout: Layout, limits: Path, rank: int, world: int) -> "subprocess.Popen[bytes]":
    words = ["--protocol=reinhard", "--samples_per_shard=4", f"--thresholds={limits}"]
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit.teach", *words, *words_of(layout)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RANK": str(rank), "WORLD_SIZE": str(world)},
    )  # fmt: skip


def made(layout: Layout) -> dict[str, str]:
    return {k: v for k, v in digests_of(layout).items() if "/targets/" in k and ".staged" not in k}


def staged(layout: Layout) -> int:
    """Pictures that are there in one form or another; others may be at work in the folders."""
    walked = os.walk(layout.shards / "targets" / ".staged")
    number = sum(name.endswith(".json") for _, _, names in walked for name in names)
    return number + 5 * len(layout.manifests_of("targets"))


@pytest.mark.timeout(1200)
def test_killed_and_gone_on_twenty_times(studio: Layout, tmp_path: Path) -> None:
    limits = tmp_path / "strict.toml"
    limits.write_text(STRICT)
    planned = fork_server().run(
        "toolkit.pairs", ["--num_pairs=15", "--seeds=0,1", *words_of(studio)]
    )
    assert planned.returncode == 0, planned.stderr
    assert start(studio, limits, 0, 1).wait() == 0
    expected = made(studio)
    rows = [row for path in studio.manifests_of("targets") for row in read_manifest(path)]
    assert len({row["parent"] or row["key"] for row in rows}) == 30
    assert sum(row["attempt"] > 1 for row in rows) >= 5
    assert (studio.manifests / "targets" / "qc_overrides.jsonl").stat().st_size > 0
    rng, moments = np.random.Generator(np.random.Philox(5)), set()
    for number in range(KILLS):
        for folder in (studio.shards, studio.manifests):
            shutil.rmtree(folder / "targets", ignore_errors=True)
        world = 1 + number % 2
        processes = [start(studio, limits, rank, world) for rank in range(world)]
        wanted = int(rng.integers(0, 40))
        while staged(studio) < wanted and any(p.poll() is None for p in processes):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        moments.add(staged(studio))
        world = 2 - number % 2  # goes on with another number of processes
        rest = [start(studio, limits, rank, world) for rank in range(world)]
        assert [process.wait() for process in rest] == [0] * world
        assert made(studio) == expected, f"kill {number}"
    assert len(moments) >= 8, f"the kills fell on {sorted(moments)} pictures only"
