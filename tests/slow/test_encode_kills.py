"""Twenty kills at random moments of an encoding of real photographs: the same bytes in the end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests import twins
from toolkit.packing.dataset import pack
from toolkit.sources.folder import open_source
from toolkit.store.layout import Layout

pytestmark = pytest.mark.slow
KILLS = 20
SHARED = Path(__file__).resolve().parents[3] / "shared"


def command(layout: Layout, weights: Path) -> list[str]:
    return [sys.executable, "-m", "toolkit.encode", "true", "--encoder=taef2", "--target_size=64",
            f"--weights={weights}", "--threads=2", f"--shards={layout.shards}",
            f"--manifests={layout.manifests}"]  # fmt: skip


def encode(layout: Layout, weights: Path) -> None:
    done = subprocess.run(command(layout, weights), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def files_of(layout: Layout) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for folder in (layout.shards, layout.manifests)
        for path in folder.glob("*/sidecars/*/*")
        if path.suffix != ".lock"
    }


def finished(layout: Layout) -> int:
    return len(list(layout.manifests.glob("*/sidecars/*/*.parquet")))


@pytest.mark.timeout(1200)
def test_killed_and_resumed_twenty_times(tmp_path: Path) -> None:
    photos = SHARED / "data" / "photos"
    if not photos.is_dir():
        pytest.skip("the real photographs are not here")
    real = SHARED / "weights"
    weights = real if real.is_dir() else twins.taef2(tmp_path / "weights")
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(open_source(photos), "photos", layout, 16)
    encode(layout, weights)
    expected = files_of(layout)
    assert len(expected) == 19  # nine shards, their rows, and how they were made
    rng, stages = np.random.Generator(np.random.Philox(11)), set()
    for number in range(KILLS):
        for folder in (layout.shards, layout.manifests):
            shutil.rmtree(folder / "photos" / "sidecars", ignore_errors=True)
        wanted = int(rng.integers(9))
        process = subprocess.Popen(
            command(layout, weights), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and finished(layout) < wanted:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        stages.add(finished(layout))
        encode(layout, weights)
        assert files_of(layout) == expected, f"kill {number}"
    assert len(stages) >= 5, f"the kills fell on {sorted(stages)} finished shards only"
