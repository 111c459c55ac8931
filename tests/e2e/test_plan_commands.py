"""`--plan` as a user meets it, and a run in little memory that its proposal makes fit."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Call, RunCommand, words_of
from toolkit.store.layout import Layout
from train.plan import plan
from train.run import _fields, main

GROUPS = Path("/sys/fs/cgroup/memory")
ROOM = 2_000_000_000
LARGE = ("--batch_size=256", "--threads=1", "--steps=2", "--sample_every=0", "--eval_size=1")


@pytest.mark.slow
def test_the_memory_of_a_preset_is_told_without_data_or_weights(
    run_command: RunCommand, tmp_path: Path
) -> None:
    found = run_command(
        "train.run", "dreambooth_lora", "--config=safe", "--plan", "--vram=24GB",
        cwd=tmp_path, env={"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == "memory on cuda, in GB:"
    rows = {line[:30].strip(): float(line[30:]) for line in lines[1:10]}
    assert rows["the most of all"] == max(list(rows.values())[:-1])
    assert rows["weights"] == pytest.approx(1.76, abs=0.01)  # 866 million in bf16, 6.6 trained
    assert "not known before: " in lines[-2]
    assert "the driver's context" in lines[-2]
    assert lines[-1].startswith("fits 24GB, of which 85% are allowed (--memory_limit): ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_all_presets_of_a_method_stand_in_a_table(call: Call) -> None:
    done = call(plan, "ot_cfm", "--format=json")
    assert done.code == 0, done.err
    rows = {row["preset"]: row for row in json.loads(done.out)}
    assert rows.keys() == {"smoke", "cpu", "8gb", "12gb", "16gb"}
    assert rows["cpu"]["pictures"] > rows["cpu"]["weights"] > 0  # of an autoencoder not fetched
    for preset, room in (("8gb", 8), ("12gb", 12), ("16gb", 16)):
        assert (rows[preset]["device"], rows[preset]["most"] < room) == ("cuda", True)


def test_what_cannot_be_planned_is_refused(call: Call, tmp_path: Path) -> None:
    for flags, expected in (
        (("--vram=lots",), "--vram=lots: write it as 24GB"),
        (("style_adapter", "--config=3090", "--backbone=no/such", "--plan"),
         "the sizes of no/such are not known here: get its configuration with `hf download no/s"),
        (("nosuch", "--plan"), "unknown method 'nosuch'"),
    ):  # fmt: skip
        line = call(main, *flags, f"--runs={tmp_path}", fields=_fields).refusal()
        assert expected in line


@pytest.fixture
def small_room() -> Iterator[Path]:
    """A control group of the system with little memory."""
    group = GROUPS / f"tessera-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(ROOM))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.rmdir()


@pytest.mark.slow
def test_a_run_that_is_killed_for_want_of_memory_fits_as_proposed(
    small_room: Path, sample_data: Layout, tmp_path: Path, run_command: RunCommand
) -> None:
    words = [*LARGE, f"--runs={tmp_path}", *words_of(sample_data)]

    def limited(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        def enter() -> None:
            (small_room / "cgroup.procs").write_text(str(os.getpid()))

        return subprocess.run(
            [sys.executable, "-m", "train.run", *words, f"--name={name}", *more],
            capture_output=True, text=True, preexec_fn=enter, timeout=280, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    assert limited("killed").returncode == -9
    told = run_command("train.run", *words, "--plan", "--vram=2GB")
    assert told.returncode == 0, told.stderr
    flags = told.stdout.splitlines()[-1].partition(" with ")[2].partition(":")[0].split()
    assert flags
    done = limited("fits", *flags)
    assert done.returncode == 0, done.stderr
