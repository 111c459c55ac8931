"""Encoding, training, killing, resuming and translating through the real commands."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.translation import _fields, main
from tests.conftest import words_of
from tests.fork_server import fork_server
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


def train(runs: Path, data: Layout, *flags: str) -> tuple[str, list[str]]:
    return "train.run", ["ot_cfm", *flags, f"--runs={runs}", *words_of(data)]


@pytest.fixture(scope="module")
def straight(runs: Path, encoded_data: Layout) -> Path:
    done = fork_server().run(*train(runs, encoded_data, *SMALL, "--name=straight"))
    assert done.returncode == 0, done.stderr
    assert f"--run={runs / 'straight'} --target_style=Ukiyo_e" in done.stdout
    return runs / "straight"


@pytest.mark.slow  # that of style_adapter is not
def test_killed_and_resumed_with_a_coupling_it_ends_with_the_same_bits(
    runs: Path, straight: Path, encoded_data: Layout
) -> None:
    module, words = train(runs, encoded_data, *SMALL, "--name=killed", "--workers=1")
    killed = subprocess.Popen(
        [sys.executable, "-m", module, *words],
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
    done = fork_server().run(*train(runs, encoded_data, "--name=killed", "--resume", "--workers=0"))
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


def test_translations_of_held_out_pictures_are_scored_and_shown(
    straight: Path, encoded_data: Layout, run_command: Any, tmp_path: Path
) -> None:
    done = run_command(
        "eval.translation", f"--run={straight}", "--source=content",
        "--targets=Cubism,Impressionism",
        "--samples=6", "--probe_samples=20", "--guidances=1,2", "--budgets=2,4", "--steps=2",
        "--solver=heun", "--numbered_crops", *words_of(encoded_data), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    assert "translating, judging and round trips: about " in done.stdout
    result = json.loads((straight / "scores" / "translation.json").read_text("utf-8"))
    assert (result["samples"], result["size_px"], result["step"]) == (6, 64, 16)
    assert result["photographs"] < 6
    assert result["options"]["solver"] == "heun"
    assert {row["target"] for row in result["rows"]} == {"Cubism", "Impressionism", "all"}
    same = [row for row in result["rows"] if row["what"] == "unchanged"]
    assert all(row["edges_1px"]["mean"] > 0.999 for row in same)  # wavelets are exactly undone
    assert set(result["probe_right"]) >= {"content", "Cubism"}
    errors = {(p["solver"], p["evaluations"]): p["error"] for p in result["round_trip"]}
    assert errors["euler", 4] < errors["euler", 2]
    sheet = np.asarray(Image.open(straight / "scores" / "translation.png"))
    assert sheet.shape[1] == 3 * 64
    assert "Impressionism" in (straight / "translation.html").read_text("utf-8")


def test_one_guidance_is_not_passed_over(straight: Path, call: Any) -> None:
    refused = call(main, f"--run={straight}", "--guidance=2", fields=_fields).refusal()
    assert "unknown flag --guidance: did you mean --guidances?" in refused
    for flag in ("--tolerance=0.1", "--target_style=Cubism"):  # nor what measuring does not use
        name = flag.partition("=")[0]
        assert (
            f"unknown flag {name}"
            in call(main, f"--run={straight}", flag, fields=_fields).refusal()
        )
    refused = call(main, f"--run={straight}", "--guidances=-1", fields=_fields).refusal()
    assert "--guidances: takes one weight or more, each 0 or more" in refused


@pytest.mark.slow
def test_a_run_that_does_not_translate_is_told_what_scores_it(
    sample_data: Layout, tmp_path: Path, run_command: Any
) -> None:
    trained = run_command(
        "train.run", "--steps=1", "--name=other", "--batch_size=2", "--eval_size=2",
        "--num_pairs=1",
        *words_of(sample_data), cwd=tmp_path,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    done = run_command("eval.translation", "--run=runs/other", *words_of(sample_data), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "style_adapter does not translate between labels: python -m eval.run scores its pictures"
    )
