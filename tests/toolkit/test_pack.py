"""The pack command: the same bytes from any number of processes and after a kill, and mistakes
that cost one line and leave nothing behind."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.pack import _source_options, main
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]
Pack = Callable[..., Any]
Digests = Callable[[Layout], dict[str, str]]
MakePicture = Callable[..., np.ndarray]
Encode = Callable[..., bytes]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "out" / "s", tmp_path / "out" / "m")


def flags(layout: Layout, *more: str) -> list[str]:
    return [f"--shards={layout.shards}", f"--manifests={layout.manifests}", *more]


@pytest.fixture
def pack(call: Callable[..., Any]) -> Pack:
    """Runs the command in this process."""
    return partial(call, main)


def test_a_folder_becomes_a_dataset_named_after_it(
    pack: Pack, tiny_pictures: Path, layout: Layout
) -> None:
    code, out, _ = pack("folder", f"--src={tiny_pictures}", *flags(layout, "--jobs=1"))
    assert code == 0
    assert out.splitlines()[1].split() == ["pictures", "12", "0", "1", "0"]
    assert layout.datasets() == ["pictures"]
    code, out, _ = pack("folder", f"--src={tiny_pictures}", *flags(layout, "--jobs=1"))
    assert out.splitlines()[1].split() == ["pictures", "12", "0", "1", "1"]


def test_one_and_two_processes_give_the_same_bytes(
    tiny_pictures: Path, tmp_path: Path, run_command: Any, digests: Digests
) -> None:
    (tiny_pictures / "sketch" / "bad.jpg").write_bytes(b"text")
    found = []
    for jobs in (1, 2):
        layout = Layout(tmp_path / f"s{jobs}", tmp_path / f"m{jobs}")
        done = run_command("toolkit.pack", "folder", f"--src={tiny_pictures}", "--name=tiny",
                           *flags(layout, f"--jobs={jobs}", "--samples_per_shard=3"))  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "failed, not_a_picture: 1" in done.stdout
        found.append(digests(layout))
    assert len(found[0]) == 2 * 5 + 1
    assert found[0] == found[1]


def test_failures_become_rows_with_a_cause(
    pack: Pack, tiny_pictures: Path, layout: Layout, make_picture: MakePicture, encode: Encode
) -> None:
    good = encode(make_picture(1))
    (tiny_pictures / "a-text.jpg").write_bytes(b"I am a text file")
    (tiny_pictures / "b-cut.jpg").write_bytes(good[: len(good) * 3 // 4])
    (tiny_pictures / "c-zero.jpg").write_bytes(b"")
    (tiny_pictures / "d-twice.jpg").write_bytes(good)
    (tiny_pictures / "d-twice.png").write_bytes(good)
    (tiny_pictures / "e-link.jpg").symlink_to("nowhere")
    (tiny_pictures / "f.jpg").write_bytes(good)
    (tiny_pictures / "f.json").write_text("{broken")
    code, out, err = pack(
        "folder", f"--src={tiny_pictures}", "--name=x", *flags(layout, "--jobs=1")
    )
    assert code == 0
    assert "Traceback" not in err
    rows = [row for path in layout.manifests_of("x") for row in read_manifest(path)]
    causes = {row["source_id"]: row["cause"] for row in rows if row["status"] == "failed"}
    assert causes == {
        "a-text.jpg": "not_a_picture", "b-cut.jpg": "truncated", "c-zero.jpg": "empty",
        "e-link.jpg": "unreadable", "f.jpg": "bad_metadata",
    }  # fmt: skip
    for cause in causes.values():
        assert f"  failed, {cause}: 1" in out.splitlines()
    assert len(rows) == 12 + 7
    # Pictures that differ in their extension only are two samples.
    assert len({row["key"] for row in rows if row["source_id"].startswith("d-twice")}) == 2


def test_nothing_but_failures_is_an_error(pack: Pack, tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jpg").write_bytes(b"text")
    code, out, err = pack("folder", f"--src={tmp_path / 'raw'}", *flags(layout, "--jobs=1"))
    assert code == 2
    assert "failed, not_a_picture: 1" in out
    assert err.splitlines()[-1].startswith("error: no input could be packed")


@pytest.fixture(scope="module")
def many(
    tmp_path_factory: pytest.TempPathFactory, make_picture: MakePicture, encode: Encode
) -> Path:
    """A folder of 120 pictures, so that packing it takes a moment."""
    folder = tmp_path_factory.mktemp("many") / "raw"
    folder.mkdir()
    for number in range(12):
        data = encode(make_picture(number, 500, 400), "PNG", compress_level=1)
        for copy in range(10):
            (folder / f"p{number:02d}{copy}.png").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def many_digests(many: Path, digests: Digests) -> dict[str, str]:
    """What packing `many` in twelves gives when nobody disturbs it."""
    whole = Layout(many.parent / "s", many.parent / "m")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        main("folder", src=many, shards=whole.shards, manifests=whole.manifests,
             samples_per_shard=12, jobs=1)  # fmt: skip
    return digests(whole)


def start_packing(many: Path, layout: Layout, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit.pack", "folder", f"--src={many}", *flags(layout, *more)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(pattern: str, folder: Path, packing: subprocess.Popen[bytes]) -> None:
    while not list(folder.glob(pattern)):
        assert packing.poll() is None, "the pack ended before it could be killed"
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("pattern", "least"),
    [("s/raw/.*.tmp", 0), ("m/raw/*-000002.parquet", 3)],
    ids=["a shard under way", "the third shard"],
)
def test_a_killed_pack_goes_on_to_the_same_bytes(
    pattern: str,
    least: int,
    many: Path,
    many_digests: dict[str, str],
    layout: Layout,
    pack: Pack,
    digests: Digests,
) -> None:
    settings = ("--samples_per_shard=12", "--jobs=1")
    packing = start_packing(many, layout, *settings)
    wait_for(pattern, layout.shards.parent, packing)
    packing.send_signal(signal.SIGKILL)
    assert packing.wait() == -signal.SIGKILL
    assert not layout.card("raw").exists()
    code, out, _ = pack("folder", f"--src={many}", *flags(layout, *settings))
    assert code == 0
    assert least <= int(out.splitlines()[1].split()[-1]) < 10
    after = {name: digest for name, digest in digests(layout).items() if "/." not in name}
    assert after == many_digests


def test_nothing_of_a_killed_pack_is_left(
    tiny_pictures: Path, layout: Layout, pack: Pack, digests: Digests
) -> None:
    args = ("folder", f"--src={tiny_pictures}", "--jobs=1", *flags(layout))
    pack(*args)
    before = digests(layout)
    (layout.shards / "pictures" / ".pictures-000000.tar.99999999.tmp").write_bytes(b"half")
    pack(*args)
    assert digests(layout) == before


def test_a_killed_pack_takes_its_processes_along(many: Path, layout: Layout) -> None:
    packing = start_packing(many, layout, "--jobs=2", "--samples_per_shard=4")
    try:
        wait_for("raw/*.parquet", layout.manifests, packing)
        packing.send_signal(signal.SIGKILL)
        packing.wait()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and alive(packing.pid):
            time.sleep(0.1)
        assert not alive(packing.pid)
    finally:
        for pid in alive(packing.pid):
            os.kill(pid, signal.SIGKILL)


def test_two_packs_of_one_dataset_do_not_run_at_once(
    many: Path, layout: Layout, pack: Pack
) -> None:
    packing = start_packing(many, layout, "--jobs=1", "--samples_per_shard=12")
    try:
        wait_for("m/raw/*-000000.parquet", layout.shards.parent, packing)
        message = pack("folder", f"--src={many}", *flags(layout, "--jobs=1")).refusal()
        assert "another process is packing raw" in message
        assert packing.wait() == 0
    finally:
        packing.kill()
        packing.wait()
    assert len(list(layout.shards.rglob("*.tar"))) == 10


def alive(group: int) -> list[int]:
    """Processes of a process group that are no zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


# --- mistakes


def test_folders_that_cannot_be_used_leave_nothing_behind(
    pack: Pack, tiny_pictures: Path, tmp_path: Path, layout: Layout
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    cases = [
        (f"--src={tmp_path / 'missing'}", "there is no folder"),
        (f"--src={tmp_path / 'file'}", "there is no folder"),
        (f"--src={tmp_path / 'empty'}", "no pictures in"),
        ("--src=", "needs --src="),
    ]
    for flag, message in cases:
        assert message in pack("folder", flag, *flags(layout)).refusal()
    before = sorted(tmp_path.rglob("*"))
    for place in (tmp_path / "file" / "below", Path("/proc/tessera")):
        for one in (Layout(place, layout.manifests), Layout(place, place)):
            message = pack("folder", f"--src={tiny_pictures}", *flags(one)).refusal()
            assert f"cannot write to {place}" in message
            assert "choose another folder" in message
    assert sorted(tmp_path.rglob("*")) == before
    assert not layout.shards.parent.exists()


def test_manifests_that_cannot_be_written_leave_no_shards_folder(
    pack: Pack, tiny_pictures: Path, layout: Layout
) -> None:
    one = Layout(layout.shards, Path("/proc/tessera"))
    pack("folder", f"--src={tiny_pictures}", *flags(one)).refusal()
    assert not layout.shards.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["foldr"], "unknown source 'foldr': did you mean folder?"),
        (
            ["PICTURES"],
            "is a folder: say what it holds, as in python -m toolkit.pack folder",
        ),
        (["folder"], "the source folder needs --src="),
        (["--src=x"], "say what x holds: python -m toolkit.pack SOURCE --src=x"),
        (["folder", "--src=PICTURES", "--name=../x"], "'../x' cannot name a dataset"),
        (["folder", "--src=PICTURES", "--jobs=-1"], "--jobs=-1: takes 1 or more"),
        (["folder", "--src=PICTURES", "--samples_per_shard=-1"], "--samples_per_shard=-1: takes"),
        (["folder", "--src=PICTURES", "--limit=many"], "limit=many: takes a whole number"),
        (["folder", "--src=PICTURES", "--raw=x"], "--raw goes with the sample data"),
        (["--part=content"], "unknown flag --part"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    pack: Pack, tiny_pictures: Path, layout: Layout, args: list[str], message: str
) -> None:
    given = [arg.replace("PICTURES", str(tiny_pictures)) for arg in args]
    assert message in pack(*given, *flags(layout)).refusal()
    assert not layout.shards.exists()
    assert not layout.manifests.exists()


@pytest.mark.parametrize("flag", ["--jobs=0", "--samples_per_shard=0", "--limit=-1", "--limit=0"])
def test_numbers_below_one_are_refused(
    flag: str, pack: Pack, tiny_pictures: Path, layout: Layout
) -> None:
    pack("folder", f"--src={tiny_pictures}", flag, *flags(layout)).refusal()
    assert not layout.shards.exists()


def test_a_name_that_is_not_utf8_costs_one_input(
    pack: Pack, tiny_pictures: Path, layout: Layout, make_picture: MakePicture, encode: Encode
) -> None:
    path = os.fsencode(tiny_pictures) + b"/caf\xe9.jpg"
    with open(path, "wb") as file:
        file.write(encode(make_picture(1)))
    code, _, _ = pack("folder", f"--src={tiny_pictures}", "--jobs=1", *flags(layout))
    assert code == 0
    assert json.loads(layout.card("pictures").read_text())["counts"]["rows"] == 13


def test_a_rehearsal_does_not_delete_the_finished_pack(
    pack: Pack, tiny_pictures: Path, layout: Layout
) -> None:
    args = ("folder", f"--src={tiny_pictures}", "--jobs=1", "--samples_per_shard=4")
    pack(*args, *flags(layout))
    pack(*args, *flags(layout, "--limit=1"))
    assert len(list((layout.shards / "pictures").glob("*.tar"))) == 3
    assert len(list((layout.shards / "pictures-rehearsal").glob("*.tar"))) == 1


@pytest.mark.parametrize("flag", ["--limit=1", "--name=mine"])
def test_flags_that_do_nothing_are_refused(flag: str, pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    place = Layout(tmp_path / "file", tmp_path / "file")  # so that nothing is made in any case
    assert "cannot write" not in pack(flag, *flags(place)).refusal()


def test_the_real_command_is_one_line_on_a_wrong_folder(run_command: Any, tmp_path: Path) -> None:
    done = run_command("toolkit.pack", "folder", "--src=missing", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: there is no folder missing: give an existing one with --src=DIR\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, about damaged headers
def test_real_awkward_pictures_pack_without_a_traceback(
    shared_data: Path, pack: Pack, layout: Layout
) -> None:
    awkward = shared_data / "awkward"
    code, out, err = pack("folder", f"--src={awkward}", "--jobs=1", *flags(layout))
    assert code == 0
    assert "Traceback" not in err
    with (awkward / "metadata.csv").open(encoding="utf-8", newline="") as file:
        known = {row["path"]: row for row in csv.DictReader(file)}
    rows = [row for path in layout.manifests_of("awkward") for row in read_manifest(path)]
    assert sorted(row["source_id"] for row in rows) == sorted(known)
    causes = {row["source_id"]: row["cause"] for row in rows if row["status"] != "ok"}
    # just those that Pillow cannot read either
    sound = {name for name, x in known.items() if x["pillow_open"] == x["pillow_load"] == "ok"}
    assert causes.keys() == known.keys() - sound
    for name, cause in causes.items():
        wrong = known[name]["pillow_open"] + known[name]["pillow_load"]
        assert (cause == "too_large") == ("DecompressionBomb" in wrong), name
        assert (cause == "truncated") >= ("truncated" in wrong), name
    counted = re.findall(r"failed, (\w+): (\d+)", out)
    assert dict(counted) == {cause: str(n) for cause, n in Counter(causes.values()).items()}


@pytest.mark.parametrize("gap_s", [0.0, 0.005, 0.3])
def test_two_interrupts_end_a_pack_at_once(gap_s: float, many: Path, layout: Layout) -> None:
    packing = subprocess.Popen(
        [sys.executable, "-m", "toolkit.pack", "folder", f"--src={many}", "--name=raw",
         *flags(layout, "--jobs=2", "--samples_per_shard=4")],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for("raw/*.parquet", layout.manifests, packing)  # type: ignore[arg-type]
    for _ in range(2):  # to the whole group, as a terminal does
        os.killpg(packing.pid, signal.SIGINT)
        time.sleep(gap_s)
    _, err = packing.communicate(timeout=20)
    assert packing.returncode == 130, err
    assert "interrupted" in err
    assert not layout.card("raw").exists()


@pytest.mark.parametrize(
    "moment", ["_base._AcquireFutures.__enter__", "process.ProcessPoolExecutor.submit"]
)
def test_an_interrupt_at_a_bad_moment_ends_a_pack(
    moment: str, many: Path, layout: Layout, tmp_path: Path
) -> None:
    """Where the standard library holds locks that its other threads wait for."""
    script = tmp_path / "packs.py"
    script.write_text(
        f"""
import os, runpy, signal
import concurrent.futures.process as process
from concurrent.futures import _base

before, calls = {moment}, []

def interrupted(*args):
    found = before(*args)
    calls.append(args)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return found

if __name__ == "__main__":
    {moment} = interrupted
    runpy.run_module("toolkit.pack", run_name="__main__", alter_sys=True)
"""
    )
    packing = subprocess.run(
        [sys.executable, script, "folder", f"--src={many}", "--name=raw",
         *flags(layout, "--jobs=2", "--samples_per_shard=4")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert packing.returncode == 130, packing.stderr
    assert "interrupted" in packing.stderr
    assert not layout.card("raw").exists()


# --- other data under a name that is taken


def test_another_folder_of_the_same_name_is_refused(
    tiny_pictures: Path, tmp_path: Path, layout: Layout, pack: Pack, digests: Digests
) -> None:
    other = tmp_path / "other" / "pictures"
    shutil.copytree(tiny_pictures, other)
    for number, path in enumerate(sorted(other.rglob("*.jpg"))):
        path.write_bytes(path.read_bytes() + bytes(number + 1))
    pack("folder", f"--src={tiny_pictures}", layout)
    before = digests(layout)
    message = pack("folder", f"--src={other}", layout).refusal()
    assert f"the dataset pictures was packed from {tiny_pictures}, not from {other}" in message
    assert "--overwrite" in message
    assert digests(layout) == before
    assert pack("folder", f"--src={other}", "--overwrite", layout).code == 0
    assert digests(layout) != before


def test_a_moved_folder_is_packed_on(
    tiny_pictures: Path, tmp_path: Path, layout: Layout, pack: Pack
) -> None:
    pack("folder", f"--src={tiny_pictures}", layout)
    (tmp_path / "elsewhere").mkdir()
    moved = tiny_pictures.rename(tmp_path / "elsewhere" / "pictures")
    outcome = pack("folder", f"--src={moved}", layout)
    assert outcome.out.splitlines()[1].split() == ["pictures", "12", "0", "1", "1"]
    again = pack("folder", f"--src={moved}", layout)  # and is known there from now on
    assert again.code == 0


def test_other_data_are_replaced_only_on_request(
    tiny_pictures: Path, layout: Layout, pack: Pack
) -> None:
    pack("folder", f"--src={tiny_pictures / 'cubism'}", "--name=x", layout)
    other = ("folder", f"--src={tiny_pictures / 'sketch'}", "--name=x", layout)
    assert "holds other data (folder cubism): choose another --name" in pack(*other).refusal()
    assert pack(*other, "--overwrite").code == 0


def test_an_option_that_is_left_away_takes_no_facts_with_it(
    tiny_pictures: Path, tmp_path: Path, layout: Layout, pack: Pack, digests: Digests
) -> None:
    table = tmp_path / "splits.csv"
    names = [p.relative_to(tiny_pictures).as_posix() for p in tiny_pictures.rglob("*.jpg")]
    table.write_text("file_name,split\n" + "".join(f"{name},val\n" for name in names), "utf-8")
    plain = ("folder", f"--src={tiny_pictures}", "--name=x", layout)
    pack(*plain)
    assert pack(*plain, f"--metadata={table}", fields=_source_options).code == 0  # more than before
    before = digests(layout)
    message = pack(*plain).refusal()
    assert "x was packed with metadata splits.csv, which is left away now" in message
    assert "--overwrite" in message
    assert digests(layout) == before
    assert pack(*plain, "--overwrite").code == 0
    assert digests(layout) != before


@pytest.mark.parametrize(
    ("folder", "name"),
    [("My Pics", "my_pics"), ("é日本", "data"), ("-x-", "x"), ("A" * 90, "a" * 64)],
)
def test_a_name_is_made_of_any_folders(
    folder: str, name: str, tiny_pictures: Path, tmp_path: Path, layout: Layout, pack: Pack
) -> None:
    src = tiny_pictures.rename(tmp_path / folder)
    assert pack("folder", f"--src={src}", layout).code == 0
    assert layout.datasets() == [name]
