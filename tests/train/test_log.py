"""Logs of a run: Weights & Biases, where it is installed, without a network."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from train.log import check_wandb

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from train.log import RunLog
folder = Path(sys.argv[1])
log = RunLog(folder / "log.jsonl", folder / "board", 0, with_wandb=True)
log.write(1, loss=0.5, note="text")
log.picture(1, "grid", np.zeros((4, 4, 3), np.uint8))
log.close()
"""


def test_without_its_package_it_is_one_line() -> None:
    if importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed")
    with pytest.raises(UserError, match="--wandb needs the package wandb: install it, or leave"):
        check_wandb()


def test_offline_it_keeps_its_own_files(tmp_path: Path) -> None:
    if not importlib.util.find_spec("wandb"):
        pytest.skip("wandb is not installed")
    folder = tmp_path / "some-run"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folder / "log.jsonl").read_text() == '{"loss": 0.5, "note": "text", "step": 1}\n'
    assert list((folder / "wandb").glob("offline-run-*/run-some-run.wandb"))
