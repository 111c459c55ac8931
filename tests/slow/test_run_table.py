"""Kills of a training run: weights, optimiser, averages and log are those of the straight run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(1800)
def test_one_hash_whatever_the_workers_and_twenty_one_kills(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.resume", f"--folder={tmp_path}", "--keep=False"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    *cells, last = map(json.loads, done.stdout.splitlines())
    assert [cell["workers"] for cell in cells] == [0, 1, 2]
    assert len({cell[name] for cell in cells for name in ("straight", "resumed")}) == 1
    assert last == {"name": "different hashes", "value": 1}
    moments = [step for cell in cells for step in cell["killed_after_steps"]]
    assert len(moments) == 21
    assert len(set(moments)) >= 5, moments
