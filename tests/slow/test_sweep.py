"""A queue of fifteen styles: what is trained and drawn does not depend on it, nor on kills."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encoded, picture
from tests.fork_server import fork_server
from tests.twins import stable_diffusion
from toolkit.core.files import sha256_of
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
FLAGS = ("dreambooth_lora", "--config=smoke", "--main=fewshot", "--mix=main:1,prior:1",
         "--backbone=sd", "--threads=1", "--steps=6", "--save_interval=3", "--sample_every=0",
         "--eval_size=2", "--stylize.steps=2", "--name=q")  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue")
    stable_diffusion(folder / "sd")
    for style in range(15):
        images = folder / "styles" / f"{style:02}" / "images"
        images.mkdir(parents=True)
        for number, name in enumerate(("ball", "bird")):
            pixels = picture(10 * style + number, 40, 40)
            (images / f"{name}.png").write_bytes(encoded(pixels, "PNG"))
        (images.parent / "prompt.json").write_text(json.dumps({"0": "Phone", "1": "Wallet"}))
    prior = ["--config=smoke", "--main=fewshot", "--steps=2", "--backbone=sd", "--each=1"]
    for module, words in (
        ("toolkit.pack", ["fewshot", "--src=styles", "--name=fewshot"]), ("train.prior", prior),
    ):  # fmt: skip
        done = fork_server().run(module, words, folder)
        assert done.returncode == 0, done.stderr
    return folder


def start(work: Path, place: str, *flags: str) -> subprocess.Popen[str]:
    """A sweep whose runs and pictures lie in a place of their own, over the same data."""
    (work / place).mkdir(exist_ok=True)
    for name in ("shards", "manifests"):
        if not (work / place / name).exists():
            subprocess.run(["cp", "-r", work / name, work / place / name], check=True)
        link = work / place / "sd"
        if not link.is_symlink():
            link.symlink_to(work / "sd")
    return subprocess.Popen(
        [sys.executable, "-m", "train.sweep", *FLAGS, *flags], cwd=work / place, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def made(work: Path, place: str, style: str) -> tuple[str, list[str]]:
    """Hashes of a style's weights and of its pictures."""
    run = work / place / "runs" / f"q-{style}"
    last = sorted((run / "checkpoints").glob("step-*"))[-1]
    layout = Layout(work / place / "shards", work / place / "manifests")
    rows: list[dict[str, Any]] = [
        row for path in layout.manifests_of(f"q-{style}-out") for row in read_manifest(path)
    ]
    assert len(rows) == 2
    return sha256_of(last / "weights.safetensors"), [row["sha256"] for row in rows]


def test_alone_or_third_of_fifteen_on_one_slot_or_two_or_killed(work: Path) -> None:
    alone = start(work, "alone", "--only=02", "--cards=cpu")
    out, err = alone.communicate()
    assert alone.returncode == 0, err
    assert out.splitlines()[2].split()[:3] == ["02", "runs/q-02", "done"]
    expected = made(work, "alone", "02")

    one = start(work, "one", "--styles=15", "--cards=cpu")
    _, err = one.communicate()
    assert one.returncode == 0, err
    assert made(work, "one", "02") == expected

    two = start(work, "two", "--cards=cpu,cpu")
    run = work / "two" / "runs" / "q-02"
    while not list((run / "checkpoints").glob("step-*")):  # the third is being trained
        assert two.poll() is None, two.communicate()[1]
        time.sleep(0.02)
    os.killpg(two.pid, signal.SIGKILL)
    for pid in _children(work / "two"):
        os.kill(pid, signal.SIGKILL)
    two.communicate()
    again = start(work, "two", "--cards=cpu,cpu", "--format=json")
    out, err = again.communicate()
    assert again.returncode == 0, err
    rows = json.loads(out)
    assert [row["style"] for row in rows] == [f"{n:02}" for n in range(15)]
    assert {row["state"] for row in rows} == {"done"}
    assert made(work, "two", "02") == expected
    assert made(work, "two", "03") != expected
    others = {made(work, "two", f"{n:02}")[0] for n in range(15)}
    assert len(others) == 15


def _children(folder: Path) -> list[int]:
    """Processes that were begun in a folder and are left."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if (proc / "cwd").resolve() == folder.resolve() and int(proc.name) != os.getpid():
                found.append(int(proc.name))
        except OSError:
            continue
    return found
