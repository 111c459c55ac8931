"""Packing, encoding and teaching on a real Ray cluster of two nodes on this machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, copied, encoded, picture, words_of
from tests.ray_nodes import two_nodes
from toolkit.store.layout import Layout


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with two_nodes() as address:
        yield address


def started(address: str, module: str, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words), "--engine=ray"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": address,
             "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def workers(task: str) -> list[int]:
    """Processes of Ray that are at a task of this name."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if words.startswith(f"ray::{task}".encode()):
            found.append(int(place.name))
    return found


def kill_one(task: str, killed: list[int], when: Callable[[], bool]) -> threading.Thread:
    """Kills a worker that is at a task as soon as something holds."""

    def wait() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end and not killed:
            if when() and (found := workers(task)):
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
            time.sleep(0.01)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def finish(running: subprocess.Popen[str]) -> str:
    out, errors = running.communicate(timeout=280)
    assert running.returncode == 0, errors
    return out


def test_a_pack_whose_worker_is_killed_has_the_bytes_of_one_process(
    cluster: str, tmp_path: Path, run_command, digests: Callable[[Layout], dict[str, str]]
) -> None:
    alone, many = (Layout(tmp_path / n / "s", tmp_path / n / "m") for n in ("alone", "many"))
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(96):
        (raw / f"p{number:02d}.jpg").write_bytes(encoded(picture(number, 640, 480)))
    flags = ("folder", f"--src={raw}", "--name=data", "--samples_per_shard=8")
    done = run_command("toolkit.pack", *flags, "--jobs=1", *words_of(alone))
    assert done.returncode == 0, done.stderr
    killed: list[int] = []
    running = started(cluster, "toolkit.pack", *flags, *words_of(many))
    first = many.manifests / "data"
    thread = kill_one("_call", killed, lambda: any(first.glob("*.parquet")))
    finish(running)
    thread.join()
    assert killed
    assert digests(many) == digests(alone)


@pytest.mark.slow
def test_latents_are_those_of_one_process_though_a_worker_was_killed(
    cluster: str, sample_data: Layout, tmp_path: Path, run_command
) -> None:
    flags = ("dataset='wikiart' or dataset='content'", "--encoder=haar", "--target_size=64",
             "--sidecar=latents", "--device=cpu", "--threads=1")  # fmt: skip
    alone, many = (copied(sample_data, tmp_path / name) for name in ("alone", "many"))
    done = run_command("toolkit.encode", *flags, *words_of(alone))
    assert done.returncode == 0, done.stderr
    killed: list[int] = []
    running = started(cluster, "toolkit.encode", *flags, "--jobs=2", *words_of(many))
    thread = kill_one("_rank", killed, lambda: True)
    out = finish(running)
    thread.join()
    assert killed
    assert "[2/2] latents: " in out
    found, expected = (
        {p.name: p.read_bytes() for p in (data.shards).rglob("*.tar") if "sidecars" in str(p)}
        for data in (many, alone)
    )
    assert found == expected
    assert found


@pytest.mark.slow
def test_targets_are_those_of_one_process(
    cluster: str, sample_data: Layout, tmp_path: Path, run_command,
    digests: Callable[[Layout], dict[str, str]],
) -> None:  # fmt: skip
    alone, many = (copied(sample_data, tmp_path / name) for name in ("alone", "many"))
    plan = tmp_path / "plan"
    made = run_command(
        "toolkit.pairs", "--num_pairs=24", "--balance=style", f"--out={plan}", *words_of(alone)
    )
    assert made.returncode == 0, made.stderr
    flags = (f"--plan={plan / 'pseudo_pairs_train.parquet'}", "--protocol=reinhard",
             "--name=taught", "--samples_per_shard=8")  # fmt: skip
    done = run_command("toolkit.teach", *flags, *words_of(alone))
    assert done.returncode == 0, done.stderr
    finish(started(cluster, "toolkit.teach", *flags, "--jobs=3", *words_of(many)))
    of_one, of_three = (
        {name: found for name, found in digests(data).items() if "/taught-" in name}
        for data in (alone, many)
    )
    assert of_three == of_one
    assert len(of_one) == 6  # three tars and their manifests
    assert (many.manifests / "taught" / "dataset.json").exists()


@pytest.mark.slow
def test_what_is_wrong_is_said_once(cluster: str, sample_data: Layout, tmp_path: Path) -> None:
    data = copied(sample_data, tmp_path)
    for module, words, expected in (
        ("toolkit.encode", ("true", "--encoder=nosuch"), "there is no encoder 'nosuch'"),
        ("toolkit.encode", ("true", "--encoder=haar", "--limit=3"), "--limit rehearses in one"),
        ("toolkit.pack", ("folder", f"--src={tmp_path / 'no'}"), "no"),
    ):
        running = started(cluster, module, *words, *words_of(data))
        _, errors = running.communicate(timeout=120)
        assert running.returncode == 2
        assert errors.count("error: ") == 1, errors
        assert expected in errors


def test_without_a_cluster_it_says_how_to_begin_one(sample_data: Layout, tmp_path: Path) -> None:
    running = started("127.0.0.1:9", "toolkit.pack", *words_of(Layout(tmp_path, tmp_path)))
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "error: no Ray cluster answers at 127.0.0.1:9: `ray start --head` begins one" in errors
