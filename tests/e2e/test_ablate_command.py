"""A matrix by the real commands: every stage a process, rows compared, what fails tried again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import words_of
from toolkit.store.layout import Layout

SMALL = """
method = "style_adapter"
vary = "one"
[train]
steps = 4
save_interval = 2
batch_size = 4
threads = 1
num_pairs = 1
eval_size = 2
sample.steps = 1
num_layers = 1
style_layers = 1
num_heads = 1
head_dim = 24
head_width = 8
[stylize]
where = "split='val' and key < 'chelsea-02'"
steps = 2
[eval]
metrics = ["edge_structure", "colour_histogram"]
[axes]
mix = ["main:3,fill50k:1", "main:1"]
"""
# Ablations of the paper's parts: K × purification × schedule × multi-task, beside a real backbone.
PARTS = """
method = "style_adapter"
config = "tiny"
[train]
steps = 4
save_interval = 2
batch_size = 4
threads = 1
num_pairs = 1
eval_size = 2
sample_every = 0
[stylize]
where = "split='val' and key < 'chelsea-02'"
steps = 2
[eval]
metrics = ["edge_structure", "colour_histogram"]
[axes]
layers = [4, 0]
purification = ["gated", "none"]
style_schedule = ["none", "piecewise"]
mix = ["main:3,fill50k:1", "main:1"]
"""


@pytest.mark.slow
def test_rows_are_trained_stylised_scored_and_compared(
    data: Layout, tmp_path: Path, run_command: Any
) -> None:
    matrix = tmp_path / "tasks.toml"
    matrix.write_text(SMALL)
    words = [str(matrix), *words_of(data)]
    done = run_command("eval.ablate", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[2/2] mix=main:1, seed 0: eval done" in done.stderr
    folder = tmp_path / "runs" / "tasks"
    found = json.loads((folder / "ablation.json").read_text())
    assert [row["state"] for row in found["rows"]] == ["scored", "scored"]
    assert found["rows"][1]["differs"] == {"data.mix": "'main:1'"}
    assert found["rows"][0]["cost"]["training_seconds"] > 0
    assert found["rows"][0]["cost"]["trainable"] > 0
    entries = {(e["row"], e["metric"]): e for e in found["entries"]}
    for row in ("baseline", "mix=main:1"):
        run = tmp_path / "runs" / ("tasks-baseline" if row == "baseline" else "tasks-mix-main-1")
        summary = json.loads((run / "scores" / "summary.json").read_text())
        for metric in summary["metrics"]:
            own = entries[row, metric["name"]]
            assert own["value"] == pytest.approx(metric["value"])
            ends = (metric["low"], metric["high"])  # other resamples: other names of the same
            assert (own["low"], own["high"]) == pytest.approx(ends, rel=0.05)
    assert entries["mix=main:1", "edge_structure"]["pairs"] == summary["pictures"] > 3
    assert pq.read_table(folder / "ablation.parquet").num_rows == 4
    page = (folder / "ablation.html").read_text()
    assert page.count("<img") >= 3 * (3 + 2)
    assert "| mix=main:1 |" in (folder / "ablation.md").read_text()
    before = (
        sorted((tmp_path / "runs").rglob("log.jsonl")),
        [path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("log.jsonl")],
    )
    again = run_command("eval.ablate", *words, "--format=csv", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert ": train" not in again.stderr
    assert again.stdout.splitlines()[1].startswith("baseline,")
    assert before == (
        sorted((tmp_path / "runs").rglob("log.jsonl")),
        [path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("log.jsonl")],
    )
    matrix.write_text(SMALL.replace("steps = 4", "steps = 5"))
    refused = run_command("eval.ablate", *words, cwd=tmp_path)
    assert refused.returncode == 2
    assert "was trained otherwise (then --steps=4, now --steps=5): --overwrite" in refused.stderr


def test_what_a_matrix_would_do_is_told_without_doing_it(
    data: Layout, tmp_path: Path, run_command: Any
) -> None:
    (tmp_path / "tasks.toml").write_text(SMALL)
    done = run_command("eval.ablate", "tasks.toml", "--dry_run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[3].startswith("python -m train.run style_adapter --config=smoke --name=tasks-mix-")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_rehearsal_tells_what_each_row_takes(
    data: Layout, tmp_path: Path, run_command: Any
) -> None:
    (tmp_path / "tasks.toml").write_text(SMALL.replace("vary", "seeds = [0, 1]\nvary"))
    words = ["tasks.toml", "--rehearse=1", *words_of(data)]
    done = run_command("eval.ablate", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("baseline: a rehearsal of 1 steps, nothing is kept; all 4: about ")
    assert second.startswith("mix=main:1: a rehearsal of 1 steps")
    assert last == "each of them 2 times, once a seed"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_parts_of_the_adapter_killed_again_and_again(data: Layout, tmp_path: Path) -> None:
    """Sixteen rows, with kill -9 at eight moments; a table as if nothing had happened."""
    (tmp_path / "parts.toml").write_text(PARTS)
    command = [sys.executable, "-m", "eval.ablate", "parts.toml", *words_of(data)]
    for seconds in (3, 9, 14, 20, 26, 11, 17, 23):
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True, text=True,
        )  # fmt: skip
        time.sleep(seconds)
        process.kill()
        process.communicate()
        for path in (tmp_path / "runs" / "parts" / "rows").glob("*/state.json"):
            _kill_what_holds(path.parent)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "runs" / "parts" / "ablation.json").read_text())
    assert [row["state"] for row in found["rows"]] == ["scored"] * 16
    assert len(found["entries"]) == 32
    entries = {(e["row"], e["metric"]): e["value"] for e in found["entries"]}
    text = PARTS.replace("[4, 0]", "[4]").replace('["gated", "none"]', '["none"]')
    text = text.replace('["none", "piecewise"]', '["piecewise"]')
    (tmp_path / "straight.toml").write_text(text)
    straight = [*command[:3], "straight.toml", *command[4:]]
    subprocess.run(straight, cwd=tmp_path, check=True, capture_output=True)
    whole = json.loads((tmp_path / "runs" / "straight" / "ablation.json").read_text())
    for entry in whole["entries"]:
        tail = "" if entry["row"] == "baseline" else ", mix=main:1"
        row = f"purification=none, style_schedule=piecewise{tail}"
        assert entries[row, entry["metric"]] == entry["value"]


def _kill_what_holds(folder: Path) -> None:
    """The stage that a killed process left behind."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            held = {os.readlink(link) for link in (process / "fd").iterdir()}
        except OSError:
            continue
        if str(folder) in held:
            os.kill(int(process.name), signal.SIGKILL)
