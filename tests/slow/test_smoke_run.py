"""The default training run, at full length, does what the README says it does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.feature_store import FeatureStore
from eval.looking import Looker, View
from eval.roster import Roster
from toolkit.store.layout import Layout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Layout]:
    """pack, run, stylize, eval: the commands of `make demo`, in a folder of their own."""
    root = tmp_path_factory.mktemp("demo")
    for args in (
        ["toolkit.pack"], ["train.run", "--name=demo"], ["train.stylize", "--run=runs/demo"],
        ["eval.run", "--run=runs/demo"],
    ):  # fmt: skip
        subprocess.run([sys.executable, "-m", *args], cwd=root, check=True, env=dict(os.environ))
    return root / "runs" / "demo", Layout(root / "shards", root / "manifests")


def border_ratio(pictures: list[np.ndarray], period: int) -> float:
    """Largest mean step between neighbouring columns or rows at one phase of a grid, over the mean
    of all phases: 1 where no grid shows."""
    steps = np.zeros(period)
    for picture in pictures:
        values = picture.astype(float)
        for axis in (0, 1):
            jumps = np.abs(np.diff(values, axis=axis)).mean(axis=(1 - axis, 2))
            phases = [jumps[phase::period].mean() for phase in range(period)]
            steps += np.array(phases)
    return float(steps.max() / steps.mean())


def test_held_out_loss_falls(finished) -> None:
    run, _ = finished
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [r["eval_loss"] for r in log if "eval_loss" in r]
    assert losses[-1] < losses[0] / 3


def test_pictures_take_the_colours_of_their_own_style_and_keep_the_content(finished) -> None:
    run, _ = finished
    summary = json.loads((run / "scores" / "summary.json").read_text())
    metrics = {m["name"]: m for m in summary["metrics"]}
    assert summary["pictures"] == 120
    assert summary["nearer_own_style"] >= 0.9
    distance = metrics["colour_distance"]
    assert distance["high"] < distance["baselines"]["shuffled"]
    assert distance["high"] < distance["baselines"]["unchanged"]
    assert metrics["edge_structure"]["low"] > 0.8


def test_no_patch_grid_shows(finished) -> None:
    """Patches are 8 pixels wide. The teacher's own pictures set the scale."""
    _, layout = finished
    looker, items = Looker(layout, FeatureStore()), list(Roster(layout, "demo-out").items())
    outputs = [looker.pixels(View(item.picture)) for item in items]
    targets = [looker.pixels(View(item.refs["target"][0], (64, 64))) for item in items]
    assert border_ratio(outputs, 8) < border_ratio(targets, 8) + 0.1


def test_the_measure_of_grids_sees_a_grid() -> None:
    rng = np.random.default_rng(0)
    smooth = [np.cumsum(np.cumsum(rng.normal(size=(64, 64, 3)), 0), 1) for _ in range(30)]
    blocks = [p.reshape(8, 8, 8, 8, 3).mean((1, 3)).repeat(8, 0).repeat(8, 1) for p in smooth]
    assert border_ratio(smooth, 8) < 1.05
    mixed = [0.8 * a + 0.2 * b for a, b in zip(smooth, blocks, strict=True)]
    assert border_ratio(mixed, 8) > 1.2
