"""The stream is one and the same for every number of workers and ranks, killed or not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("what", ["pixels", "latents", "buckets"])
def test_all_cells_of_the_table_hold_one_hash(what: str, tmp_path: Path) -> None:
    """Real processes that meet by gloo; half of the cells are killed at a random step."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.order", f"--what={what}", f"--folder={tmp_path}",
         "--keep=False"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells = [line for line in done.stdout.splitlines() if '"straight"' in line]
    assert len(cells) == 12
    assert '{"name": "different hashes", "value": 1}' in done.stdout
