"""The SDXL teacher in several real processes: shared, killed, and without its weights."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, digests_of, words_of
from tests.fork_server import fork_server
from toolkit.store.layout import Layout

pytestmark = pytest.mark.slow
LENIENT = "[structure]\nfair = -0.9\nrefused = -1.0\n[high_frequency]\nfair = 1e6\nrefused = 1e7\n"


def made(layout: Layout) -> dict[str, str]:
    """Digests of what was packed, without the stage."""
    return {k: v for k, v in digests_of(layout).items() if "/targets/" in k and ".staged" not in k}


def start(words: list[str], **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit.teach", *words], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **env},
    )  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("batch_size", [1, 2])
def test_two_processes_of_which_one_is_killed(
    sdxl_weights: dict[str, str], studio: Layout, tmp_path: Path, batch_size: int
) -> None:
    """And one that goes on: the bytes of one process left alone."""
    limits = tmp_path / "lenient.toml"
    limits.write_text(LENIENT)
    fork_server().run("toolkit.pairs", ["--num_pairs=4", "--seeds=0,1", *words_of(studio)])
    words = [
        "--protocol=a-fixed", "--size=64", "--samples_per_shard=3", f"--batch_size={batch_size}",
        f"--thresholds={limits}", "--settings.precision=fp32", "--device=cpu", *words_of(studio),
        *(f"--weights.{part}={folder}" for part, folder in sdxl_weights.items()),
    ]  # fmt: skip
    assert start(words).wait() == 0
    expected = made(studio)
    again = anew(studio)
    both = [start(words, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    stage = again.shards / "targets" / ".staged"
    while both[0].poll() is None and not list(stage.glob("??????/*.json")):
        time.sleep(0.01)
    both[0].send_signal(signal.SIGKILL)
    both[0].communicate()
    _, err = both[1].communicate(timeout=300)
    assert both[1].returncode == 0, err
    assert made(again) != expected
    rest = start(words)
    _, err = rest.communicate(timeout=300)
    assert rest.returncode == 0, err
    assert made(again) == expected


@pytest.mark.timeout(600)
def test_a_compiled_teacher_is_compared_with_itself(
    sdxl_weights: dict[str, str], studio: Layout, tmp_path: Path
) -> None:
    """Two at a time besides; in fp32 on a CPU they differ by less than a level."""
    limits = tmp_path / "lenient.toml"
    limits.write_text(LENIENT)
    fork_server().run("toolkit.pairs", ["--num_pairs=4", *words_of(studio)])
    process = start([
        "--protocol=a-fixed", "--size=64", "--batch_size=2", "--compile",
        f"--thresholds={limits}", "--settings.precision=fp32", "--device=cpu", *words_of(studio),
        *(f"--weights.{part}={folder}" for part, folder in sdxl_weights.items()),
    ])  # fmt: skip
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert "4 targets made" in out
    told = re.search(r"^compiled and 2 at a time: at least ([0-9.]+|inf) dB", err, re.MULTILINE)
    assert told, err
    assert float(told[1]) > 48


def anew(layout: Layout) -> Layout:
    """The same layout without the targets."""
    for folder in (layout.shards, layout.manifests):
        shutil.rmtree(folder / "targets")
    return layout


def test_sdxl_that_is_not_there_is_one_line(studio: Layout) -> None:
    fork_server().run("toolkit.pairs", ["--num_pairs=1", *words_of(studio)])
    process = start(words_of(studio), HF_HOME=str(studio.shards / "none"))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith(
        "error: the weights stabilityai/stable-diffusion-xl-base-1.0 (7 GB in fp16)"
    )
    assert "--weights.base=DIR" in last
    assert "Traceback" not in err
