"""Queues of styles and of rows of a matrix by the real commands."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import words_of
from tests.e2e.test_ablate_command import SMALL
from toolkit.core.files import sha256_of
from toolkit.store.layout import Layout

# by flags of the command line: eval.run is asked for by --then
PLAIN = SMALL.partition("[eval]")[0] + '[axes]\nmix = ["main:3,fill50k:1", "main:1"]\n'


def flags_of(line: str) -> dict[str, str]:
    words = [word for word in shlex.split(line) if word.startswith("--")]
    return dict(word.removeprefix("--").split("=", 1) for word in words)


def test_each_style_is_trained_with_each_row_and_seed(
    data: Layout, tmp_path: Path, run_command: Any
) -> None:
    with_where = PLAIN.replace("[train]", "[train]\nwhere = 'weight > 0'")
    (tmp_path / "tasks.toml").write_text(with_where)
    words = ["tasks.toml", "--by=style", "--styles=2", "--seed=5,7", "--where=width > 8",
             "--dry_run", "--stylize.seed=3", "--lr=0.01", "--cards=cpu",
             "--then=eval.run"]  # fmt: skip
    done = run_command("train.sweep", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if "-m train.run" in line]
    assert len(done.stdout.splitlines()) == 3 * len(lines) == 3 * 2 * 2 * 2
    found = [flags_of(line) for line in lines]
    assert len({flags["name"] for flags in found}) == 8
    styles = {flags["where"].removeprefix("(width > 8) and (weight > 0) and style = ")
              for flags in found}  # fmt: skip
    assert len(styles) == 2
    assert all(style[0] == style[-1] == "'" for style in styles)
    for flags in found:
        assert flags["name"].endswith(f"-s{flags['seed']}")
        assert flags["optim.lr"] == "0.01"
    shown = {(f["where"], f["data.mix"], f["seed"]) for f in found}
    assert shown == {(f["where"], mix, seed) for f in found
                     for mix in ("main:3,fill50k:1", "main:1") for seed in ("5", "7")}  # fmt: skip
    drawn = [flags_of(line) for line in done.stdout.splitlines() if "train.stylize" in line]
    assert {(f["seed"], f["steps"]) for f in drawn} == {("3", "2")}
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config=tiny"], "--config=tiny: a matrix names its own, write it into tasks.toml"),
        (["--only=cubism"], "--only and --styles choose among values: add --by=style"),
        (["--mix=main:1"], "the rows 'baseline' and 'mix=main:1' are the same"),
        (["--by=style", "--only=nobody"], "--only=nobody: "),
        (["--stylize.stepz=3"], "unknown flag --stylize.stepz: did you mean"),
        (["--stylize.run=x"], "unknown flag --stylize.run"),
        (["--lrr=3"], "unknown flag --lrr: did you mean --optim.lr?"),
    ],
)
def test_what_no_queue_can_be_is_refused(
    words: list[str], said: str, data: Layout, tmp_path: Path, run_command: Any
) -> None:
    (tmp_path / "tasks.toml").write_text(PLAIN)
    done = run_command("train.sweep", "tasks.toml", *words, "--dry_run", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_cards_are_looked_for_before_anything_runs(
    data: Layout, tmp_path: Path, run_command: Any
) -> None:
    (tmp_path / "tasks.toml").write_text(PLAIN)
    env = {"CUDA_VISIBLE_DEVICES": ""}
    done = run_command("train.sweep", "tasks.toml", "--cards=0,1", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert done.stderr == "error: --cards=0,1: torch sees no GPU here; --cards=cpu trains without\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_styles_and_rows_are_in_one_table(data: Layout, tmp_path: Path, run_command: Any) -> None:
    (tmp_path / "tasks.toml").write_text(SMALL)
    words = ["tasks.toml", "--by=style", "--styles=2", *words_of(data)]
    done = run_command("train.sweep", *words, "--cards=cpu,cpu", "--format=json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows == json.loads((tmp_path / "runs" / "tasks" / "sweep.json").read_text())
    assert [row["row"] for row in rows] == ["baseline", "mix=main:1"] * 2
    assert len({row["style"] for row in rows}) == 2
    for row in rows:
        run = tmp_path / row["run"]
        summary = json.loads((run / "scores" / "summary.json").read_text())
        for metric in summary["metrics"]:
            assert row[metric["name"]] == metric["value"] is not None
        assert row["state"] == "done"
        assert row["train s"] > 0
        assert f"style = '{row['style']}'" in (run / "config.toml").read_text()
        last = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert row["eval_loss"] == [r["eval_loss"] for r in last if "eval_loss" in r][-1]

    # by one card, in another place: the same weights
    alone = tmp_path / "alone"
    alone.mkdir()
    again = run_command(
        "train.sweep", "../tasks.toml", *words[1:], "--cards=cpu", "--runs=runs", cwd=alone
    )
    assert again.returncode == 0, again.stderr
    for row in rows:
        weights = [next(p for p in sorted((folder / row["run"]).rglob("*.safetensors")))
                   for folder in (tmp_path, alone)]  # fmt: skip
        assert sha256_of(weights[0]) == sha256_of(weights[1])
