"""Single looks of the doctor: at packages, the machine, disks and packed data."""

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import Call
from toolkit.checkup import probe
from toolkit.checkup.data import look_at_data
from toolkit.checkup.finding import Finding, guarded
from toolkit.checkup.machine import hub_cache, look_at_disks, look_at_machine
from toolkit.checkup.packages import (
    Wanted,
    is_at_least,
    look_at_packages,
    look_at_python,
    requirements,
    wanted_of,
)
from toolkit.store.layout import Layout
from toolkit.store.sidecar import write_columns

ROOT = Path(__file__).resolve().parents[3]


def states(found: list[Finding]) -> dict[str, str]:
    return {one.what: one.state for one in found}


def test_a_package_is_there_missing_or_old() -> None:
    wanted = [Wanted("numpy", "2.0"), Wanted("numpy", "99.1"), Wanted("no-such-thing", "1.0")]
    fine, old, absent = look_at_packages(wanted)
    assert (fine.state, fine.mend) == ("ok", "")
    assert (old.state, old.mend) == ("broken", "pip install 'numpy>=99.1'")
    assert "older than 99.1" in old.found
    assert (absent.state, absent.mend) == ("broken", "pip install 'no-such-thing>=1.0'")


def test_what_is_needed_is_what_pyproject_says() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    python, packages = requirements()
    assert f'requires-python = "{python}"' in text
    assert len(packages) > 20
    for package, least in packages:
        assert f'"{package}>={least}"' in text


@pytest.mark.parametrize(
    ("found", "least", "expected"),
    [("2.10.0+cu126", "2.6", True), ("2.6", "2.6.0", True), ("2.6.0rc1", "2.6.1", False),
     ("1.9", "1.10", False), ("3", "2.9.9", True)],
)  # fmt: skip
def test_versions_are_numbers_not_texts(found: str, least: str, expected: bool) -> None:
    from packaging.version import Version

    assert is_at_least(found, least) == expected
    assert (Version(found).release >= Version(least).release) == expected or found == "2.6"


def test_requirements_of_an_installed_program_read_alike() -> None:
    assert wanted_of("torch-fidelity>=0.4") == Wanted("torch-fidelity", "0.4")
    assert wanted_of("webdataset") == Wanted("webdataset", "")


def test_an_old_python_is_broken() -> None:
    (fine,), (old,) = look_at_python(">=3.11"), look_at_python(">=4.7")
    assert fine.state == "ok"
    assert sys.executable in fine.found
    assert (old.state, old.mend) == ("broken", "make setup PYTHON=/path/to/python4.7")


def test_a_machine_within_a_control_group(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "dev/shm").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("3000000000\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("2000000000\n")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("150000 100000\n")
    found = {one.what: one for one in look_at_machine(tmp_path)}
    assert "grants 1.5" in found["CPU cores"].found
    assert found["memory (host)"].state == "ok"
    assert found["memory (cgroup)"].state == "warning"
    assert found["memory (cgroup)"].found.startswith("1.0 of 3.0 GB free")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert "grants" not in next(iter(look_at_machine(tmp_path))).found


def test_disks_are_those_of_folders_that_may_not_be_there(tmp_path: Path) -> None:
    (found,) = look_at_disks({"runs": tmp_path / "not" / "yet"})
    free = os.statvfs(tmp_path)
    assert "not there yet" in found.found
    told = float(found.found.split()[0])
    assert told == pytest.approx(free.f_bavail * free.f_frsize / 1e9, rel=0.05)


def test_the_hub_cache_is_where_the_library_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    for env in ({"HF_HOME": "/a"}, {"HF_HUB_CACHE": "/b"}, {"XDG_CACHE_HOME": "/c"}, {}):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
        code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
        theirs = subprocess.run(
            [sys.executable, "-c", code], env={**clean, **env}, capture_output=True, text=True,
            check=True,
        ).stdout.strip()  # fmt: skip
        with monkeypatch.context() as patch:
            for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
                patch.delenv(name, raising=False)
            for name, value in env.items():
                patch.setenv(name, value)
            assert str(hub_cache()) == theirs


def test_packed_data_are_whole(triplets: Layout) -> None:
    found = list(look_at_data(triplets))
    assert states(found) == dict.fromkeys(("circles", "paintings", "photos", "targets"), "ok")
    assert next(one for one in found if one.what == "targets").found.startswith("13 samples in 3")


def test_packed_data_lack_something(triplets: Layout) -> None:
    import shutil

    stem = triplets.manifests_of("photos")[0].stem
    write_columns(triplets, "photos", stem, "marks", {"mark": {"photo0": 1.0}})
    triplets.card("circles").unlink()
    triplets.tar("paintings", 0).unlink()
    shutil.copy(triplets.manifest("photos", 1), triplets.manifest("photos", 0))  # packed anew
    (triplets.manifest("targets", 2)).unlink()
    found = {one.what: one for one in look_at_data(triplets)}
    assert {one.state for one in found.values()} == {"warning", "ok"}
    assert "not finished" in found["circles"].found
    assert "without their tars: paintings-000000" in found["paintings"].found
    assert found["targets"].mend == "python -m toolkit.verify --repair_manifest targets"
    assert found["photos/sidecars/marks"].found.startswith("stale in 1 shards")


def test_no_data_is_nothing_broken(tmp_path: Path) -> None:
    (found,) = look_at_data(Layout(tmp_path / "shards", tmp_path / "manifests"))
    assert (found.state, found.mend) == ("missing", "python -m toolkit.pack")


def test_a_look_that_fails_is_a_finding() -> None:
    def look() -> list[Finding]:
        raise ZeroDivisionError("of all things")

    (found,) = guarded("part", look)
    assert (found.state, found.found) == ("broken", "ZeroDivisionError: of all things")


def test_every_room_tells_its_weights() -> None:
    for room in probe.ROOMS:
        path = ROOT / f"{room.replace('.', '/')}.py"
        assert "\ndef wanted() -> list[Weights]:" in path.read_text("utf-8")
    there = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for top in ("toolkit", "train", "eval")
        for p in (ROOT / top).rglob("inventory.py")
    }
    assert there == set(probe.ROOMS)


def test_remote_folders_are_refused(call: Call) -> None:
    from toolkit.doctor import main

    assert "s3://a/b is remote" in call(main, "--shards=s3://a/b").refusal()
