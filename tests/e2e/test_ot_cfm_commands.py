"""Encoding, training, killing, resuming and translating through the real commands."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import words_of
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader

SMALL = (
    "--steps=16", "--save_interval=4", "--batch_size=8", "--threads=1", "--num_pairs=1",
    "--eval_size=2", "--sample.steps=1", "--eval_every=100", "--sample_every=100",
    "--hidden_dim=32", "--num_layers=2", "--coupling=c2ot", "--sigma_rels=0.1",
    "--snapshot_every=4", "--calibration=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def train(runs: Path, data: Layout, *flags: str) -> list[str]:
    return command("train.run", "ot_cfm", *flags, f"--runs={runs}", *words_of(data))


@pytest.fixture(scope="module")
def straight(runs: Path, encoded_data: Layout) -> Path:
    done = subprocess.run(
        train(runs, encoded_data, *SMALL, "--name=straight"), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return runs / "straight"


def test_killed_and_resumed_with_a_coupling_it_ends_with_the_same_bits(
    runs: Path, straight: Path, encoded_data: Layout
) -> None:
    killed = subprocess.Popen(
        train(runs, encoded_data, *SMALL, "--name=killed", "--workers=1"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and killed.poll() is None:
        if list((runs / "killed" / "checkpoints").glob("step-*")):
            break
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    last = "checkpoints/step-000016"
    assert not (runs / "killed" / last).exists()
    done = subprocess.run(
        train(runs, encoded_data, "--name=killed", "--resume", "--workers=0"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("weights.safetensors", "optimizer.safetensors", "ema.safetensors"):
        ours, theirs = (runs / run / last / name for run in ("killed", "straight"))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_a_photograph_is_translated_with_averaged_weights(
    straight: Path, encoded_data: Layout, tmp_path: Path, run_command: Any
) -> None:
    averaged = run_command("train.ema", f"--run={straight}", "--sigma_rel=0.08", cwd=tmp_path)
    assert averaged.returncode == 0, averaged.stderr
    (made,) = (straight / "averaged").iterdir()
    (tmp_path / "coffee.jpg").write_bytes(
        SampleReader(encoded_data, "content").picture("coffee-00")
    )
    pictures = []
    for number, checkpoint in enumerate(((), (f"--checkpoint={made}",))):
        out = tmp_path / f"{number}.png"
        done = run_command(
            "train.stylize", f"--run={straight}", f"--content={tmp_path / 'coffee.jpg'}",
            "--source_style=content", "--target_style=Cubism", "--steps=4", "--guidance=2.0",
            "--solver=midpoint", f"--out={out}", *checkpoint, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        pictures.append(np.asarray(Image.open(out)))
    assert pictures[0].shape == (64, 64, 3)
    assert not np.array_equal(*pictures)
