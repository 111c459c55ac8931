"""The recipe of style_adapter, rehearsed: each stage by the real commands, killed, gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

MAKE = ["make", "-f", str(ROOT / "train/methods/style_adapter/recipe.mk"), "LIMIT=8",
        f"PYTHON={sys.executable}"]  # fmt: skip


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        MAKE, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}, start_new_session=True,
    )  # fmt: skip


@pytest.mark.timeout(1800)
def test_a_rehearsal_survives_kills_and_is_done_once(tmp_path: Path) -> None:
    work = tmp_path / "rehearsal" / "8"
    marks = work / "runs" / ".recipe"
    for reached in (marks / "pairs-8", work / "runs/recipe-8/checkpoints/step-000010"):
        running = start(tmp_path)
        while not reached.exists():
            assert running.poll() is None, running.communicate()[0]
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    last = start(tmp_path)
    told = last.communicate()[0]
    assert last.returncode == 0, told
    assert "resumed" in told  # the training that was killed
    assert "toolkit.pack" not in told  # a stage that was done
    for size in (8, 16, 32):
        assert (work / f"runs/recipe-{size}/report.html").is_file()
    config = (work / "runs/recipe-32/config.toml").read_text()
    assert 'runs/recipe-16"' in config  # begins with the weights of the smaller size
    again = start(tmp_path)
    assert "python" not in again.communicate()[0]
    assert again.returncode == 0


def test_without_data_it_says_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [word for word in MAKE if not word.startswith("LIMIT")], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert "WIKIART=DIR COCO=DIR FILL50K=DIR, or rehearse with LIMIT=24" in done.stderr
    assert not any(tmp_path.iterdir())
