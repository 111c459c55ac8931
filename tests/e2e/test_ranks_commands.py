"""One run on several ranks, started by torchrun: the same losses, whatever becomes of a rank."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, copied, words_of
from tests.fork_server import fork_server
from toolkit.store.layout import Layout
from train.state import list_checkpoints, load_weights

STEPS, SAVE = 12, 4
SMALL = (
    f"--steps={STEPS}", f"--save_interval={SAVE}", "--keep=3", "--batch_size=6", "--threads=1",
    "--num_pairs=1", "--eval_size=2", "--sample.steps=1", "--eval_every=6", "--sample_every=12",
    "--sigma_rels=0.1", "--snapshot_every=4", "--warmup_steps=3",
)  # fmt: skip
JOINT = ("--num_layers=2", "--style_layers=1", "--num_heads=2", "--head_dim=24", "--head_width=32")
FLOW = ("--hidden_dim=32", "--net.num_layers=2", "--coupling=c2ot", "--calibration=32")
BROKEN = "bricks-02_northern_renaissance-004_seed0"
"""The fifth sample of the first batch: the second one's of two ranks."""
CLOSE = {"rtol": 2e-4, "atol": 2e-5}
"""What a dozen steps make of sums in another order: Adam divides by roots of small gradients."""


def words(name: str, runs: Path, data: Layout, *flags: str) -> list[str]:
    return [*flags, f"--name={name}", f"--runs={runs}", *words_of(data)]


def torchrun(ranks: int, flags: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               f"--nproc_per_node={ranks}", "-m", "train.run", *flags]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def train(ranks: int, name: str, runs: Path, data: Layout, *flags: str) -> str:
    """What a run said that went well."""
    args = words(name, runs, data, *flags)
    if ranks == 1:
        alone = fork_server().run("train.run", args)
        assert alone.returncode == 0, alone.stderr
        return alone.stdout
    done = torchrun(ranks, args)
    said, _ = done.communicate(timeout=280)
    assert done.returncode == 0, said
    return said


def log_of(run: Path) -> list[dict[str, float]]:
    """The log without what time decides."""
    timed = ("wait_s", "step_s", "memory_mb")
    lines = (run / "log.jsonl").read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in timed} for x in lines]


def assert_same_run(found: Path, expected: Path) -> None:
    """Losses, counts and weights are those of the other run but for the order of sums."""
    logs = log_of(found), log_of(expected)
    assert [r["step"] for r in logs[0]] == [r["step"] for r in logs[1]]
    for mine, other in zip(*logs, strict=True):
        assert mine.keys() == other.keys()
        values = [torch.tensor([float(v) for v in r.values()]) for r in (mine, other)]
        torch.testing.assert_close(*values, **CLOSE)
    (a, b) = (load_weights(list_checkpoints(run / "checkpoints")[-1]) for run in (found, expected))
    assert a.keys() == b.keys()
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=1e-2, atol=2e-3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def data(sample_data: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The sample data with a target among the first samples that does not decode."""
    return copied(sample_data, tmp_path_factory.mktemp("damaged"))


@pytest.fixture
def broken(data: Layout, spoil: Callable[..., None]) -> Layout:
    spoilt = data.manifests / "spoilt"
    if not spoilt.exists():
        spoil(data, "teacher", BROKEN)
        spoilt.touch()
    return data


@pytest.fixture
def alone(runs: Path, broken: Layout) -> Path:
    """The run on one rank that the others are compared with."""
    if not (runs / "one").exists():
        train(1, "one", runs, broken, "style_adapter", *SMALL, *JOINT)
    return runs / "one"


@pytest.mark.slow
def test_four_ranks_train_as_one_does_and_two_go_on_where_they_stopped(
    alone: Path, runs: Path, broken: Layout
) -> None:
    said = train(4, "four", runs, broken, "style_adapter", *SMALL, *JOINT)
    assert "4 ranks, ddp over gloo: 1 or 2 of 6 samples each" in said
    assert said.count("run: ") == 1  # one rank speaks for all
    assert_same_run(runs / "four", alone)
    assert sum(r.get("substituted", 0) for r in log_of(runs / "four")) == 1
    assert sorted(p.name for p in (runs / "four").iterdir()) == sorted(
        p.name for p in alone.iterdir()
    )
    shutil.copytree(runs / "four", runs / "two")
    for later in list_checkpoints(runs / "two" / "checkpoints")[1:]:
        shutil.rmtree(later)
    said = train(2, "two", runs, broken, "style_adapter", "--resume")
    assert f"at step {SAVE} of {STEPS}" in said
    assert "on 2 ranks, before on 4" in said
    assert_same_run(runs / "two", alone)


def test_a_dead_rank_stops_the_run_which_then_ends_on_one(
    alone: Path, runs: Path, broken: Layout
) -> None:
    flags = words("killed", runs, broken, "style_adapter", *SMALL, *JOINT)
    running = torchrun(2, flags)
    ranks: list[int] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if list_checkpoints(runs / "killed" / "checkpoints"):
            ranks = children(running.pid)
            break
        time.sleep(0.01)
    os.kill(ranks[1], signal.SIGKILL)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "another of the 2 ranks died or does not answer: torchrun --nproc_per_node=2 " in said
    assert said.count("error: ") == 1
    train(1, "killed", runs, broken, "style_adapter", "--resume")
    assert_same_run(runs / "killed", alone)


def children(pid: int) -> list[int]:
    """Processes that a process has started, by their numbers."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return sorted(map(int, found))


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_weights_in_pieces_go_on_whole_and_the_other_way_round(
    runs: Path, broken: Layout, full: bool
) -> None:
    """`tiny` has a frozen backbone, gates of one number, and an autoencoder that is not trained."""
    tiny = ("style_adapter", "--config=tiny", "--steps=4", "--save_interval=2", "--keep=2",
            "--batch_size=2", "--threads=1", "--sample_every=0", "--eval_size=1", "--eval_every=4",
            "--warmup_steps=2", "--sigma_rels=0.1", "--snapshot_every=2")  # fmt: skip
    for name in ("whole", "pieces", "whole-on", "pieces-on"):
        shutil.rmtree(runs / name, ignore_errors=True)
    train(1, "whole", runs, broken, *tiny)
    said = train(2, "pieces", runs, broken, *tiny, "--parallel=fsdp")
    assert "2 ranks, fsdp over gloo: 1 of 2 samples each" in said
    assert_same_run(runs / "pieces", runs / "whole")
    for name, ranks in (("pieces", 1), ("whole", 2))[: None if full else 1]:
        shutil.copytree(runs / name, runs / f"{name}-on")
        shutil.rmtree(runs / f"{name}-on" / "checkpoints" / "step-000004")
        more = ("--parallel=fsdp",) if ranks > 1 else ()
        train(ranks, f"{name}-on", runs, broken, "style_adapter", "--resume", *more)
        assert_same_run(runs / f"{name}-on", runs / "whole")


def test_ranks_that_would_train_on_something_else_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "differing.py"
    script.write_text(
        "from toolkit.core.command import run\n"
        "from train.config import RanksConfig\n"
        "from train.launch import launched\n"
        "from train.ranks import Ranks\n"
        "def main() -> None:\n"
        "    with launched() as launch:\n"
        "        ranks = Ranks(**vars(launch))\n"
        "        ranks.join(RanksConfig(), 'cpu')\n"
        "        ranks.refuse_differing({'seed': '0'})\n"
        "        print('the same')\n"
        "        ranks.refuse_differing({'seed': '0', 'stream.data': str(ranks.rank)})\n"
        "run(main, 'differing')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         str(script)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.count("the same") == 1
    assert done.stderr.count("error: ") == 1
    expected = "error: rank 1 would train on something else than rank 0: stream.data differ; give"
    assert expected in done.stderr


@pytest.mark.slow
def test_a_coupling_sees_the_batches_of_all_ranks(runs: Path, encoded_data: Layout) -> None:
    train(1, "flow", runs, encoded_data, "ot_cfm", *SMALL, *FLOW)
    train(2, "flow-2", runs, encoded_data, "ot_cfm", *SMALL, *FLOW)
    assert_same_run(runs / "flow-2", runs / "flow")


def test_what_is_wrong_is_said_once(runs: Path, sample_data: Layout) -> None:
    for flags, expected in (
        (("--batchsize=2",), "unknown flag --batchsize: did you mean --data.batch_size?"),
        (("--batch_size=1",), "batch_size=1: takes 2 or more, one a rank"),
    ):
        refused = torchrun(2, words("refused", runs, sample_data, "style_adapter", *flags))
        said, _ = refused.communicate(timeout=120)
        assert refused.returncode == 1
        assert said.count("error: ") == 1, said
        assert f"error: {expected}" in said
        assert not (runs / "refused").exists()


@pytest.mark.slow
def test_what_one_rank_alone_meets_is_said_by_it(
    runs: Path, sample_data: Layout, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    damaged = copied(sample_data, tmp_path / "damaged")
    spoil(damaged, "teacher", BROKEN, as_packed=False)
    stopped = torchrun(2, words("rotten", runs, damaged, "style_adapter", *SMALL, *JOINT))
    said, _ = stopped.communicate(timeout=120)
    assert stopped.returncode == 1
    assert said.count("error: ") == 1
    assert f"{BROKEN}" in said
