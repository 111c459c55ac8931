"""The whole path through the real commands, each in a process of its own, killed on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.fork_server import fork_server
from toolkit.core.files import held
from toolkit.store.layout import Layout
from toolkit.store.manifest import SHARD_SHA256, manifest_metadata, read_manifest
from toolkit.store.samples import SampleReader
from train.run import _fields, main
from train.state import load_weights, save_weights

ROOT = Path(__file__).resolve().parents[2]
STEPS, SAVE = 24, 10
SMALL = (
    f"--steps={STEPS}", f"--checkpoint.save_interval={SAVE}", "--data.batch_size=4",
    "--threads=1", "--sample.num_pairs=1", "--sample.eval_size=2", "--sample.steps=2",
    "--sample.eval_every=12", "--sample.sample_every=12",
    "--num_layers=2", "--style_layers=1", "--num_heads=2", "--head_dim=24", "--head_width=32",
)  # fmt: skip


def command(module: str, *args: str | Path, data: Layout | None = None, **env: str):
    folders = [] if data is None else [f"--shards={data.shards}", f"--manifests={data.manifests}"]
    if not env:
        return fork_server().run(module, [*map(str, args), *folders])
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, args), *folders],
        capture_output=True, text=True, env={**os.environ, **env}, timeout=280, check=False,
    )  # fmt: skip


def succeed(*args, **kwargs) -> str:
    done = command(*args, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*args, **kwargs) -> str:
    """The one line of a command that refuses; it leaves with 2 and shows no traceback."""
    done = command(*args, **kwargs)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def log_of(run: Path) -> list[dict]:
    """The log without what time decides."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in r.items() if k not in ("wait_s", "step_s", "memory_mb")} for r in records
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("e2e") / "runs"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def straight(sample_data: Layout, runs: Path) -> Path:
    """A run that was never interrupted."""
    succeed("train.run", *SMALL, f"--runs={runs}", "--name=straight", data=sample_data)
    return runs / "straight"


@pytest.fixture(scope="module")
def pictures(sample_data: Layout, straight: Path, tmp_path_factory) -> Layout:
    """A layout of its own with the sample data and pictures of the run: of twelve held-out pairs
    and one that was trained on."""
    root = tmp_path_factory.mktemp("data")
    layout = Layout(root / "shards", root / "manifests")
    shutil.copytree(sample_data.manifests, layout.manifests)
    layout.shards.mkdir()
    for folder in sample_data.shards.iterdir():
        (layout.shards / folder.name).symlink_to(folder)
    where = "(split='val' and key < 'chelsea-02') or key = 'FIRST'"
    by_key = ["--columns=key", "--order_by=key", "--limit=1", "--format=csv"]
    first = succeed("toolkit.query", "dataset='teacher' and split='train'", *by_key, data=layout)
    where = where.replace("FIRST", first.splitlines()[1])
    succeed("train.stylize", f"--run={straight}", f"--where={where}", "--steps=2", data=layout)
    return layout


def test_run_writes_config_log_checkpoints_and_pictures(straight: Path) -> None:
    steps = [r["step"] for r in log_of(straight) if "loss" in r]
    assert steps == list(range(1, STEPS + 1))
    names = sorted(p.name for p in (straight / "checkpoints").iterdir())
    assert names == ["step-000020", "step-000024"]
    assert list((straight / "tensorboard").glob("events.*"))
    grid = Image.open(straight / "samples" / "step-000024.png")
    assert grid.size == (4 * 64 * 2, 64 * 2)
    assert {r["step"] for r in log_of(straight) if "eval_loss" in r} == {0, 12, 24}


def test_mix_is_logged_by_task(straight: Path) -> None:
    record = log_of(straight)[-2]
    assert {"loss/main", "loss/fill50k", "mse/main"} <= set(record)


def wait_for_step(process: subprocess.Popen[Any], run: Path, step: int) -> None:
    """Returns when the run's log has the step, or the process has ended."""
    log, deadline = run / "log.jsonl", time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and f'"step": {step}' in log.read_text():
            return
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_killed_and_resumed_ends_with_the_same_bits(
    sample_data: Layout, runs: Path, straight: Path
) -> None:
    """kill -9 behind the first checkpoint, then resumed with another number of workers."""
    folders = [f"--shards={sample_data.shards}", f"--manifests={sample_data.manifests}"]
    args = [*SMALL, f"--runs={runs}", "--name=killed", *folders]
    process = subprocess.Popen(
        [sys.executable, "-m", "train.run", *args], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for_step(process, runs / "killed", SAVE + 2)
    process.kill()
    process.wait()
    done = [r["step"] for r in log_of(runs / "killed") if "loss" in r]
    assert SAVE + 1 < max(done) < STEPS, "the kill came too late to prove anything"
    out = succeed(
        "train.run",
        f"--runs={runs}",
        "--name=killed",
        "--resume",
        "--data.workers=0",
        data=sample_data,
    )
    assert re.search(r"resumed .* at step (10|20) of 24", out)
    last = "checkpoints/step-000024"
    for name in ("weights.safetensors", "optimizer.safetensors"):
        assert (runs / "killed" / last / name).read_bytes() == (
            straight / last / name
        ).read_bytes(), name
    assert log_of(runs / "killed") == log_of(straight)


def test_pictures_are_a_dataset_linked_to_their_halves(pictures: Layout) -> None:
    rows = [r for p in pictures.manifests_of("straight-out") for r in read_manifest(p)]
    assert len(rows) == 13
    assert Counter(row["split"] for row in rows) == {"val": 12, "train": 1}
    for row in rows:
        roles = {link["role"]: link for link in row["links"]}
        assert set(roles) == {"content", "style", "target"}
        content, style = row["key"].split("_seed")[0].split("_", 1)
        assert roles["content"] == {"role": "content", "dataset": "content", "key": content}
        assert roles["style"] == {"role": "style", "dataset": "wikiart", "key": style}
        assert (row["width"], row["height"], row["format"]) == (64, 64, "png")
    out = succeed("toolkit.query", "dataset='straight-out'", "--count", data=pictures)
    assert out.strip() == "13"
    succeed("toolkit.verify", "straight-out", data=pictures)


def test_scores_and_report(pictures: Layout, straight: Path, tmp_path: Path) -> None:
    out = succeed("eval.run", f"--run={straight}", data=pictures, TORCH_HOME=str(tmp_path))
    lacking = "missing: art_fid, lpips: lpips_alex: alexnet-owt-7be5be79.pth is missing (233 MB)"
    assert f"{lacking}; get it with: python -c" in out
    assert "overlap with training: 1 content the same" in out  # one training pair was made too
    summary = json.loads((straight / "scores" / "summary.json").read_text())
    values = {m["name"]: m for m in summary["metrics"]}
    assert set(values) == {"colour_distance", "colour_histogram", "edge_structure"}
    for metric in values.values():
        assert metric["low"] <= metric["value"] <= metric["high"]
        assert metric["num_samples"] == 13
    assert summary["cost"]["parameters"] > 9e5

    (manifest,) = pictures.manifests_of("straight-out")
    sidecar = pq.read_table(manifest.parent / "sidecars" / "scores" / manifest.name)
    assert sidecar["key"].to_pylist() == [row["key"] for row in read_manifest(manifest)]
    assert sidecar.schema.metadata[SHARD_SHA256] == manifest_metadata(manifest)[SHARD_SHA256]
    mean = np.mean(sidecar["edge_structure"].to_pylist())
    assert mean == pytest.approx(values["edge_structure"]["value"])

    worst = sorted(sidecar["edge_structure"].to_pylist())[3]
    where = f"dataset='straight-out' and edge_structure < {worst}"
    assert succeed("toolkit.query", where, "--count", data=pictures).strip() == "3"

    out = succeed("eval.report", f"--run={straight}", "--pictures=5", data=pictures)
    page = (straight / "report.html").read_text("utf-8")
    assert str((straight / "report.html").resolve()) in out
    assert page.count("<img") == 5 * 4 + 2 * 3 * 5 * 4 + 4 * summary["under_stylised"]["count"]
    assert not re.search(r"(src|href)\s*=\s*['\"]?(http|//|/)", page)
    for word in ("edge_structure", "missing: art_fid", "nearer in colour", "polyline", "gate = 0.1",
                 "12 of split val", "1 of these pairs were trained on"):  # fmt: skip
        assert word in page, word


@pytest.mark.slow
def test_a_rehearsal_leaves_the_pictures_alone_and_other_pictures_make_scores_stale(
    pictures: Layout, straight: Path, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    shutil.copytree(pictures.manifests, layout.manifests)
    shutil.copytree(pictures.shards, layout.shards, symlinks=True)
    run = shutil.copytree(straight, tmp_path / "straight")
    succeed("eval.run", f"--run={run}", "--metrics=colour_distance", data=layout)
    before = layout.card("straight-out").read_bytes()
    told = run / "stylize-straight-out.json"
    cost = told.read_bytes()
    out = succeed("train.stylize", f"--run={run}", "--limit=2", "--steps=1", data=layout)
    assert "a rehearsal: 2 pictures in the dataset straight-out-rehearsal" in out
    assert (layout.card("straight-out").read_bytes(), told.read_bytes()) == (before, cost)
    succeed("eval.report", f"--run={run}", data=layout)
    where = "split='val' and key < 'chelsea-01'"
    succeed("train.stylize", f"--run={run}", f"--where={where}", "--steps=1", data=layout)
    line = refused("eval.report", f"--run={run}", data=layout)
    assert "the scores are of other pictures" in line
    assert "python -m eval.run" in line
    succeed("eval.run", f"--run={run}", "--metrics=colour_distance", data=layout)
    succeed("eval.report", f"--run={run}", data=layout)
    page = (run / "report.html").read_text("utf-8")
    assert "6 of split val. The run was trained on split train: all of them are held out." in page


def test_one_picture_from_two_files(straight: Path, sample_data: Layout, tmp_path: Path) -> None:
    for dataset, key in (("content", "coffee-00"), ("wikiart", "cubism-025")):
        (tmp_path / f"{key}.jpg").write_bytes(SampleReader(sample_data, dataset).picture(key))
    args = [f"--run={straight}", f"--content={tmp_path / 'coffee-00.jpg'}",
            f"--style={tmp_path / 'cubism-025.jpg'}", "--steps=2"]  # fmt: skip
    last = "--checkpoint=step-000024"
    succeed("train.stylize", *args, f"--out={tmp_path / 'a.png'}", "--device=cpu", last)
    assert Image.open(tmp_path / "a.png").size == (64, 64)
    (tmp_path / "text.jpg").write_text("not a picture")
    bad = [*args[:2], f"--style={tmp_path / 'text.jpg'}"]
    assert "text.jpg is not a usable picture" in refused("train.stylize", *bad)
    assert "cannot read the picture" in refused("train.stylize", args[0], args[1], "--style=no.jpg")
    for wrong, says in (
        (f"--out={tmp_path}", "is a folder: name a file in it"),
        ("--out=a.xyz", "pictures are written as PNG, name it a.png"),
        ("--checkpoint=nope", "has step-000020, step-000024"),
        ("--device=cuda:7", "choose one of cpu"),
    ):
        assert says in refused("train.stylize", *args, wrong)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--steps=abc"], "takes a whole number"),
        (["--stepz=3"], "did you mean --steps"),
        (["--optim.lrr=1"], "did you mean --optim.lr"),
        (["--lr=-1"], "--optim.lr=-1.0: takes a number above 0"),
        (["--force"], "--force and --no_restore_optimizer go with --resume"),
        (["--optim.lr=-1"], "--optim.lr=-1.0: takes a number above 0"),
        (["--steps=-1"], "--steps=-1: takes 1 or more"),
        (["--name=a/b"], "'a/b' cannot name a run"),
        (["--device=cuda:7"], "--device=cuda:7 cannot be used here: choose one of cpu"),
        (["--device=gpu"], "--device=gpu cannot be used here: choose one of cpu"),
        (
            ["--data.main=content"],
            "needs content and style pictures, the samples of content",
        ),
        (["style_adaptor"], "did you mean style_adapter"),
        (["--config=huge"], "it has 3090"),
        (["--where=style="], "not a valid SQL expression"),
        (["--where=stile='Cubism'"], "did you mean title"),
        (["--where=style='Dada'"], "selects no sample"),
        (["--where=true) or (select 1"], "not a valid SQL expression"),
        (["--data.mix=main:3,circles:1"], "circles is no dataset; write NAME:WEIGHT"),
        (["--data.mix=main5"], "main5 is no dataset; write NAME:WEIGHT"),
        (["--mix=main5"], "main5 is no dataset; write NAME:WEIGHT"),
        (["--data.mix=main:0"], "whole numbers from 1"),
        (["--runs=/proc/none"], "cannot write to"),
        (["--resume", "--name=never"], "there is no run in"),
    ],
)
def test_bad_input_is_one_line(
    args: list[str], says: str, sample_data: Layout, tmp_path: Path, call: Any
) -> None:
    runs = [] if any(a.startswith("--runs") for a in args) else [f"--runs={tmp_path / 'r'}"]
    done = call(main, *args, *runs, sample_data, fields=_fields)  # in this process, there are many
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert done.err.startswith("error: ")
    assert says in done.err
    assert not (tmp_path / "r").exists()


def test_no_packed_data_says_to_pack(tmp_path: Path) -> None:
    empty = Layout(tmp_path / "shards", tmp_path / "manifests")
    for args in (["train.run", f"--runs={tmp_path / 'r'}"], ["toolkit.query"], ["toolkit.verify"]):
        assert "python -m toolkit.pack" in refused(*args, data=empty)
    assert not list(tmp_path.iterdir())


def test_an_existing_run_is_not_overwritten_by_accident(
    straight: Path, runs: Path, sample_data: Layout
) -> None:
    before = (straight / "log.jsonl").read_bytes()
    line = refused("train.run", f"--runs={runs}", "--name=straight", data=sample_data)
    assert "--resume, --overwrite, or another --name" in line
    line = refused(
        "train.run",
        f"--runs={runs}",
        "--name=straight",
        "--resume",
        "--optim.lr=1",
        data=sample_data,
    )
    assert "a resumed run keeps its optim.lr" in line
    (runs / "precious").mkdir()
    (runs / "precious" / "thesis.txt").write_text("x")
    line = refused(
        "train.run", f"--runs={runs}", "--name=precious", "--overwrite", data=sample_data
    )
    assert "is no run" in line
    assert (straight / "log.jsonl").read_bytes() == before


def test_a_running_run_is_left_to_its_process(
    straight: Path, sample_data: Layout, tmp_path: Path
) -> None:
    run = shutil.copytree(straight, tmp_path / "busy")
    before = (run / "log.jsonl").read_bytes()
    with held(run, "busy"):
        for flag in ("--resume", "--overwrite"):
            args = [f"--runs={tmp_path}", "--name=busy", flag]
            line = refused("train.run", *args, data=sample_data)
            assert "another process is training the run" in line
    assert (run / "log.jsonl").read_bytes() == before
    out = succeed("train.run", f"--runs={tmp_path}", "--name=busy", "--resume", data=sample_data)
    assert "resumed" in out


@pytest.mark.slow
def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew(
    straight: Path, sample_data: Layout, tmp_path: Path
) -> None:
    run = shutil.copytree(straight, tmp_path / "early")
    shutil.rmtree(run / "checkpoints")
    line = refused("train.stylize", f"--run={run}", data=sample_data)
    assert "has no checkpoint yet" in line
    assert "python -m train.run --name=early --resume" in line
    out = succeed("train.run", f"--runs={tmp_path}", "--name=early", "--resume", data=sample_data)
    assert "has no checkpoint yet: it begins anew, as it was configured" in out
    last = "checkpoints/step-000024/weights.safetensors"
    assert (run / last).read_bytes() == (straight / last).read_bytes()
    assert log_of(run) == log_of(straight)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_ends_a_run_with_a_checkpoint(
    number: int, straight: Path, sample_data: Layout, tmp_path: Path
) -> None:
    folders = [f"--shards={sample_data.shards}", f"--manifests={sample_data.manifests}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "train.run", *SMALL, f"--runs={tmp_path}", "--name=stop", *folders],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for_step(process, tmp_path / "stop", SAVE + 1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    last = sorted((tmp_path / "stop" / "checkpoints").iterdir())[-1].name
    assert SAVE < int(last[5:]) < STEPS  # one that no interval asked for
    assert err.splitlines()[-1] == (
        f"interrupted: python -m train.run style_adapter --name=stop --runs={tmp_path} --resume "
        f"goes on from {last}"
    )
    if number == signal.SIGTERM:
        succeed("train.run", f"--runs={tmp_path}", "--name=stop", "--resume", data=sample_data)
        end = "checkpoints/step-000024/weights.safetensors"
        assert (tmp_path / "stop" / end).read_bytes() == (straight / end).read_bytes()


def test_interrupted_before_its_first_step_a_run_leaves_nothing(
    sample_data: Layout, tmp_path: Path
) -> None:
    folders = [f"--shards={sample_data.shards}", f"--manifests={sample_data.manifests}"]
    flags = ["--sample.steps=2000" if flag == "--sample.steps=2" else flag for flag in SMALL]
    process = subprocess.Popen(  # whose first pictures take their time
        [sys.executable, "-m", "train.run", *flags, f"--runs={tmp_path}", *folders],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if line.startswith("before the first step"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    last = "interrupted: before the first step; all is as it was before"
    assert (process.returncode, err.splitlines()[-1]) == (130, last)
    assert not list(tmp_path.iterdir())


def test_a_run_is_looked_for_where_runs_lie(straight: Path, sample_data: Layout) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eval.run", "--run=straight",
         f"--shards={sample_data.shards}", f"--manifests={sample_data.manifests}"],
        cwd=straight.parent.parent, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "did you mean --run=runs/straight?" in done.stderr


def test_a_checkpoint_of_another_method_is_refused(
    straight: Path, sample_data: Layout, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(straight, copy)
    found = copy / "checkpoints" / "step-000024"
    save_weights(found, "ot_cfm", 24, load_weights(found))
    line = refused("train.stylize", f"--run={copy}", data=sample_data)
    assert "is of the method ot_cfm, not style_adapter" in line


def test_a_missing_shard_is_named(straight: Path, sample_data: Layout, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    shutil.copytree(sample_data.manifests, layout.manifests)
    shutil.copytree(sample_data.shards, layout.shards)
    (layout.shards / "wikiart" / "wikiart-000001.tar").unlink()
    line = refused("train.run", f"--runs={tmp_path / 'r'}", data=layout)
    assert "wikiart-000001.tar is gone" in line
    assert not (tmp_path / "r").exists()


def test_unscored_and_unstylized_runs_say_what_comes_first(
    straight: Path, sample_data: Layout, tmp_path: Path
) -> None:
    copy = tmp_path / "fresh"
    shutil.copytree(straight, copy, ignore=shutil.ignore_patterns("scores", "stylize-*.json"))
    assert "python -m train.stylize" in refused("eval.run", f"--run={copy}", data=sample_data)
    assert "python -m eval.run" in refused("eval.report", f"--run={copy}", data=sample_data)
