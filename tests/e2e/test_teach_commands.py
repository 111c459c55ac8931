"""Pairs, targets and quality control through the real commands and the real diffusers pipeline, on
tiny random weights in the hub's layout, offline."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, words_of
from tests.fork_server import fork_server
from tests.studio import content
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

LENIENT = "[structure]\nfair = -0.9\nrefused = -1.0\n[high_frequency]\nfair = 1e6\nrefused = 1e7\n"
"""A random network's pictures are noise; these limits let most of them pass."""


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("limits") / "lenient.toml"
    path.write_text(LENIENT)
    return path


@pytest.fixture
def words(sdxl_weights: dict[str, str], limits: Path, studio: Layout) -> list[str]:
    """Of toolkit.teach, after toolkit.pairs planned two pairs with two seeds."""
    done = fork_server().run(
        "toolkit.pairs", ["--num_pairs=2", "--seeds=0,1", "--balance=style", *words_of(studio)]
    )
    assert done.returncode == 0, done.stderr
    assert "2 pairs × 2 seeds = 4 pictures" in done.stdout
    return [
        "--protocol=a-fixed", "--size=64", "--samples_per_shard=3", "--max_attempts=2",
        "--batch_size=2", f"--thresholds={limits}", "--settings.precision=fp32", "--device=cpu",
        *words_of(studio),
        *(f"--weights.{part}={folder}" for part, folder in sdxl_weights.items()),
    ]  # fmt: skip


@pytest.mark.slow
def test_pairs_teach_grade_manifest(words: list[str], studio: Layout) -> None:
    whole = teach(words)
    assert whole.returncode == 0, whole.stderr
    assert "4 targets made" in whole.stdout
    rows = [row for path in studio.manifests_of("targets") for row in read_manifest(path)]
    good = [row for row in rows if row["status"] == "ok"]
    assert len(good) >= 2
    for row in good:
        extra = json.loads(row["extra"])
        assert row["protocol"].startswith("a-fixed~-1:")
        assert (row["width"], row["height"], row["format"]) == (64, 64, "png")
        assert extra["teacher"]["strength"] <= 0.45
        assert row["protocol_exact"] == (row["attempt"] == 1)
        assert row["grade"] in "AB"
    graded = fork_server().run("toolkit.teach", ["grade", *words_of(studio)])
    assert graded.returncode == 0, graded.stderr
    counted = fork_server().run(
        "toolkit.query", ["dataset='targets' and quality.weight >= 0", "--count", *words_of(studio)]
    )
    assert int(counted.stdout) == len(good)
    trained = fork_server().run(
        "train.run",
        ["--main=targets", "--mix=main:1", "--steps=2", "--batch_size=2", "--sample_every=0",
         f"--runs={studio.shards.parent / 'runs'}", *words_of(studio)],
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr


def teach(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return fork_server().run("toolkit.teach", words)


def test_calibrate_in_a_process_of_its_own(tmp_path: Path) -> None:
    lines = ["picture,content,style,label"]
    for number in range(8):
        one, other = (f"{name}{number}.png" for name in ("content", "style"))
        for name, seed in ((one, number), (other, 50 + number)):
            Image.fromarray(content(seed)).save(tmp_path / name)
        lines += [f"{one},{one},{other},good", f"{other},{one},{other},leak"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    words = ["calibrate", f"--labels={tmp_path / 'labels.csv'}", f"--out={tmp_path / 'out.toml'}"]
    done = fork_server().run("toolkit.teach", words)
    assert done.returncode == 0, done.stderr
    assert "precision 1.000, recall 1.000" in done.stdout
    assert "[leak]" in (tmp_path / "out.toml").read_text()


def test_sigterm_ends_with_a_line_that_says_how_it_goes_on(studio: Layout) -> None:
    """As a scheduler ends a job; what was made is there when the same command goes on."""
    planned = fork_server().run("toolkit.pairs", ["--num_pairs=20", "--seeds=0,1,2,3",
                                                  *words_of(studio)])  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    words = ["--protocol=reinhard", "--size=512", *words_of(studio)]
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.teach", *words], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    stage = studio.shards / "targets" / ".staged"
    while process.poll() is None and not list(stage.glob("*/*.json")):
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: the same command goes on after the last picture" in err
    found = fork_server().run("toolkit.query", ["dataset='targets'", "--count", *words_of(studio)])
    assert "targets is not finished: python -m toolkit.teach goes on with it" in found.stderr
    assert len(list(stage.glob("*/*.json"))) >= 1
