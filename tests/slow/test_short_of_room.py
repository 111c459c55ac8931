"""A run that runs out of memory or of disk: it says so, keeps what it has, and goes on later."""

import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.core.memory import anonymous_bytes
from toolkit.store.layout import Layout
from train.state import list_checkpoints

pytestmark = pytest.mark.slow
MEGA = 1 << 20
SMALL = (
    "--steps=30", "--save_interval=5", "--batch_size=4", "--threads=1", "--num_pairs=1",
    "--eval_size=1", "--sample.steps=1", "--sample_every=100", "--eval_every=100",
    "--num_layers=1", "--style_layers=1", "--num_heads=1", "--head_dim=24", "--head_width=8",
)  # fmt: skip


def command(runs: Path, name: str, data: Layout, *flags: str) -> list[str]:
    return [
        sys.executable, "-m", "train.run", f"--runs={runs}", f"--name={name}", *flags,
        f"--shards={data.shards}", f"--manifests={data.manifests}",
    ]  # fmt: skip


def succeed(args: list[str]) -> str:
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def last(run: Path) -> bytes:
    return (list_checkpoints(run / "checkpoints")[-1] / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def straight(sample_data: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("straight")
    succeed(command(runs, "run", sample_data, *SMALL))
    return runs / "run"


# --- memory


@pytest.fixture
def group() -> Iterator[Path]:
    folder = Path("/sys/fs/cgroup/memory") / f"tessera-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        (folder / "cgroup.procs").read_text()
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    yield folder
    folder.rmdir()


def start_in(group: Path, args: list[str]) -> subprocess.Popen[str]:
    """The command, as the only process of a control group."""
    enter = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execv(sys.argv[2], "
    program = enter + "sys.argv[2:])"
    return subprocess.Popen(
        [sys.executable, "-c", program, str(group / "cgroup.procs"), *args],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def squeeze(process: subprocess.Popen[str], group: Path, run: Path) -> None:
    """Sets a limit that is a little above what the run holds, once it trains."""
    log, deadline = run / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and '"step": 3' in log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    limit_to(group, 1.06)


def limit_to(group: Path, times: float) -> None:
    """Limits a group to so many times of what it holds."""
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    (group / "memory.limit_in_bytes").write_text(str(int(int(stat["total_rss"]) * times)))


@pytest.mark.timeout(300)
def test_a_run_at_its_groups_limit_pauses_and_stops_with_a_checkpoint(
    group: Path, sample_data: Layout, straight: Path, tmp_path: Path
) -> None:
    args = command(tmp_path, "tight", sample_data, *SMALL, "--steps=30000")
    process = start_in(group, [a for a in args if a != "--steps=30"])
    squeeze(process, group, tmp_path / "tight")
    _, err = process.communicate(timeout=120)
    lines = [line for line in err.splitlines() if not line.startswith("train: ")]
    assert process.returncode == 75, err
    assert lines[0].startswith("cgroup memory at 9")
    assert "above 85%: pausing; less is done at once from now on" in lines[0]
    assert lines[-1].startswith("stopped: cgroup memory at 9")
    assert "after a pause; free some memory, or allow more with --memory_limit=" in lines[-1]
    assert "--name=tight" in lines[-1]
    found = list_checkpoints(tmp_path / "tight" / "checkpoints")[-1].name
    assert f"goes on from {found}" in lines[-1]
    resumed = command(tmp_path, "tight", sample_data, "--resume", "--force", "--steps=30")
    steps = int(found[5:])
    if steps < 30:
        succeed(resumed)
        assert (tmp_path / "tight" / "checkpoints" / "step-000030").is_dir()


@pytest.mark.timeout(300)
def test_a_run_goes_on_where_memory_is_freed_in_the_pause(
    group: Path, sample_data: Layout, straight: Path, tmp_path: Path
) -> None:
    process = start_in(group, command(tmp_path, "freed", sample_data, *SMALL))
    squeeze(process, group, tmp_path / "freed")
    time.sleep(3)
    (group / "memory.limit_in_bytes").write_text("-1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "pausing; less is done at once from now on" in err
    assert last(tmp_path / "freed") == last(straight)


@pytest.mark.timeout(300)
def test_an_encoding_at_its_groups_limit_stops_and_goes_on_later(
    group: Path, sample_data: Layout, tmp_path: Path
) -> None:
    shutil.copytree(sample_data.manifests, tmp_path / "m")
    (tmp_path / "s").mkdir()
    for folder in sample_data.shards.iterdir():
        shutil.copytree(folder, tmp_path / "s" / folder.name)
    args = [sys.executable, "-m", "toolkit.encode", "true", "--encoder=haar", "--batch_size=1",
            f"--shards={tmp_path / 's'}", f"--manifests={tmp_path / 'm'}"]  # fmt: skip
    process = start_in(group, args)
    while process.poll() is None and not list((tmp_path / "m").glob("*/sidecars/*/*.parquet")):
        time.sleep(0.01)
    limit_to(group, 1.08)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "pausing; less is done at once from now on" in err
    line = err.splitlines()[-1]
    assert line.startswith("error: stopped: cgroup memory at 9")
    assert line.endswith("the same command goes on after the last whole shard")
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " 0 were there" not in done.stdout


# --- disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a few checkpoints."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    done = subprocess.run(
        [mount or "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=False,
        capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.timeout(300)
def test_a_disk_that_fills_leaves_the_checkpoint_before(
    small_disk: Path, sample_data: Layout, straight: Path
) -> None:
    args = command(small_disk, "full", sample_data, *SMALL, "--keep=99", "--sigma_rels=0.05,0.1")
    flags = ["--save_interval=1" if a == "--save_interval=5" else a for a in args]
    done = subprocess.run(flags, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("train: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert "No space left on device" in lines[0] or "no space left" in lines[0]
    kept = list_checkpoints(small_disk / "full" / "checkpoints")
    assert kept
    assert int(kept[-1].name[5:]) < 30
    assert not list((small_disk / "full" / "checkpoints").glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    succeed(command(small_disk, "full", sample_data, "--resume", "--keep=2"))
    assert last(small_disk / "full") == last(straight)


# --- time


@pytest.mark.timeout(900)
def test_memory_stays_where_it_is_over_five_thousand_steps(
    sample_data: Layout, tmp_path: Path
) -> None:
    flags = [f for f in SMALL if not f.startswith(("--steps=", "--save_interval="))]
    process = subprocess.Popen(
        command(tmp_path, "long", sample_data, *flags, "--steps=5600", "--save_interval=500"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found: dict[int, int] = {}
    while process.poll() is None:
        time.sleep(0.5)
        step, size = _step(tmp_path / "long" / "log.jsonl"), anonymous_bytes(process.pid)
        if size:
            found[step] = size
    assert process.returncode == 0
    early = max(size for step, size in found.items() if 300 <= step <= 600)
    late = max(size for step, size in found.items() if step >= 5300)
    print(f"RssAnon {early / 1e6:.1f} MB at 600 steps, {late / 1e6:.1f} MB at 5,600")
    assert late - early < 20e6


def _step(log: Path) -> int:
    if not log.exists():
        return 0
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode().splitlines()
    return max((int(json.loads(line)["step"]) for line in lines[1:-1]), default=0)
