"""The frame around every form: what is refused, what is left out, what an interruption leaves."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Call, Outcome, ToySource, encoded, picture, words_of
from toolkit.core.records import Record
from toolkit.export import COMMANDS
from toolkit.exporting.names import safe_name
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.sidecar import write_columns

Export = Callable[..., Outcome]


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_what_cannot_be_is_one_line(mixed_origin: Layout, export: Export, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for where, form, told in (
        ("style='Cubist'", "csv", "no sample fits: there is nothing to export"),
        ("dataset='photo'", "csv", "did you mean 'photos'?"),
        ("true", "webdatset", "did you mean webdataset?"),
        ("true", "xyz", "known: coco, csv, fiftyone, folder, hub, parquet, webdataset"),
        ("styel='x'", "csv", "did you mean style?"),
        ("width", "csv", "where must be a condition"),
    ):
        assert told in export(mixed_origin, where, form, out).refusal()
    for flag, told in (
        ("--limit=0", "--limit=0: takes 1 or more"),
        ("--shard_mb=0", "--shard_mb=0: takes 1 or more"),
        ("--columns=width*2", "give it a name, as in width*2 as name"),
        ("--columns=width as key", "another column is called key"),
        ("--columns=aesthetic", "there is no column 'aesthetic'"),
    ):
        assert told in export(mixed_origin, "true", "csv", out, flag).refusal()
    assert not list(tmp_path.iterdir())


def test_where_it_must_not_be_written(mixed: Layout, export: Export, tmp_path: Path) -> None:
    for place in (mixed.shards, mixed.manifests / "photos", mixed.shards.parent):
        told = export(mixed, "true", "csv", place).refusal()
        assert "holds packed data and nothing else: choose another folder" in told
    (tmp_path / "file").write_text("mine")
    assert "is a file" in export(mixed, "true", "csv", tmp_path / "file").refusal()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    for flags in ((), ("--overwrite",)):
        told = export(mixed, "true", "csv", tmp_path / "full", *flags).refusal()
        assert "holds other files, which no export touches" in told
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine"
    told = call_out(export, mixed, "s3://bucket/x")
    assert "python -m toolkit.export push DIR --to=s3://bucket/x" in told


def call_out(export: Export, layout: Layout, out: str) -> str:
    return export(layout, "true", "csv", out).refusal()


def test_a_folder_that_takes_nothing(mixed: Layout, export: Export) -> None:
    told = export(mixed, "true", "csv", Path("/proc/nobody/writes/here")).refusal()
    assert "cannot write to /proc/nobody/writes" in told
    assert "choose another folder" in told


def test_the_same_again_and_another_one(mixed: Layout, export: Export, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = export(mixed, "true", "webdataset", out)
    assert first.code == 0, first.err
    before = bytes_of(out)
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    again = export(mixed, "true", "webdataset", out)
    assert (again.code, "there already, unchanged" in again.out) == (0, True)
    assert stamps == {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert "holds another export" in export(mixed, "true", "csv", out).refusal()
    (out / "train" / "targets-000000.tar").write_bytes(b"")
    told = export(mixed, "true", "webdataset", out).refusal()
    assert "files of this export were changed" in told
    assert export(mixed, "true", "webdataset", out, "--overwrite").code == 0
    assert bytes_of(out) == before
    assert export(mixed, "dataset='photos'", "csv", out, "--overwrite").code == 0
    assert sorted(bytes_of(out)) == [".tessera-export.json", "photos.csv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mixed", "out"]


def test_damage_is_counted_and_named(
    mixed: Layout, export: Export, spoil: Any, tmp_path: Path
) -> None:
    spoil(mixed, "targets", "t03", as_packed=False)
    spoil(mixed, "photos", "a4", as_packed=False)
    shutil.rmtree(mixed.shards / "paintings")
    shutil.rmtree(mixed.manifests / "paintings")
    done = export(mixed, "dataset='targets'", "webdataset", tmp_path / "out")
    assert done.code == 0, done.err
    lines = [line.strip() for line in done.out.splitlines()]
    assert lines[0].startswith("12 samples in ")
    assert "left out, damaged samples: 1" in lines
    assert "targets/t03 (jpg)" in lines
    assert "left out, damaged linked pictures: 2" in lines  # of t04 and t12
    assert "targets/t12: content photos/a4" in lines
    assert "left out, linked pictures that are not at hand: 12" in lines
    names = set()
    for path in (tmp_path / "out").rglob("*.tar"):
        with tarfile.open(path) as tar:
            names.update(tar.getnames())
    assert "t04.jpg" in names
    assert not {"t03.jpg", "t04.content.jpg", "t00.style.jpg"} & names
    spoiled = export(mixed, "key='t03'", "csv", tmp_path / "csv")
    assert spoiled.code == 0  # its facts are sound
    told = export(mixed, "key='t03'", "parquet", tmp_path / "none").refusal()
    assert "all are damaged, as targets/t03 (jpg)" in told
    assert not (tmp_path / "none").exists()


def test_failed_inputs_are_counted(export: Export, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    records = {"good": Record({"jpg": encoded(picture(1))}), "bad": Record({"jpg": b"no picture"})}
    pack(ToySource("toy", records), "toy", layout, 5)
    done = export(layout, "true", "csv", tmp_path / "out")
    assert "left out, failed inputs, not_a_picture: 1" in done.out


def test_a_rehearsal_is_a_folder_of_its_own(mixed: Layout, export: Export, tmp_path: Path) -> None:
    for limit in (3, 4):
        done = export(mixed, "true", "folder", tmp_path / "out", f"--limit={limit}")
        assert done.code == 0, done.err
        assert f"{limit} samples in " in done.out
        assert "a rehearsal; all 34 samples: about " in done.out
    assert not (tmp_path / "out").exists()
    found = tmp_path / "out-rehearsal" / "train" / "metadata.jsonl"
    assert len(found.read_text("utf-8").splitlines()) == 4


def test_columns_of_sidecars_come_along(mixed: Layout, export: Export, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    for path in mixed.manifests_of("photos"):
        keys = pq.read_table(path)["key"].to_pylist()
        values = {key: {"aesthetic": int(key[1:]) / 4} for key in keys}
        write_columns(mixed, "photos", path.stem, "scores", values)
    flags = ("--columns=aesthetic,scores.aesthetic as again,width*2 as twice",)
    done = export(mixed, "dataset='photos' and aesthetic > 1", "parquet", tmp_path / "p", *flags)
    assert done.code == 0, done.err
    found = [pq.read_table(p).to_pylist() for p in sorted((tmp_path / "p").glob("*.parquet"))]
    rows = {row["key"]: row for part in found for row in part}
    assert sorted(rows) == ["a5", "a6", "a7"]
    assert rows["a6"]["aesthetic"] == rows["a6"]["again"] == 1.5
    assert rows["a6"]["twice"] == 112


def test_links_stay_away_on_request(mixed: Layout, export: Export, tmp_path: Path) -> None:
    done = export(mixed, "dataset='targets'", "folder", tmp_path / "out", "--with_links=false")
    assert done.code == 0, done.err
    assert not list((tmp_path / "out").rglob("linked"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Sixty pictures of 130 KB: twelve files of a megabyte."""
    import numpy as np

    folder = tmp_path_factory.mktemp("large")
    layout = Layout(folder / "shards", folder / "manifests")
    rng = np.random.default_rng(5)
    records = {
        f"p{i:03d}": Record({"png": encoded(rng.integers(0, 256, (210, 210, 3), np.uint8), "PNG")},
                            split=("train", "val")[i % 3 == 0])
        for i in range(60)
    }  # fmt: skip
    pack(ToySource("large", records), "large", layout, 25)
    return layout


@pytest.mark.parametrize("form", ["webdataset", "coco"])
def test_killed_it_goes_on_to_the_same_bytes(
    form: str, large: Layout, call: Call, tmp_path: Path
) -> None:
    words = ["true", f"--as={form}", "--shard_mb=1", "--name=x", *words_of(large)]
    whole = call(COMMANDS, *words, f"--out={tmp_path / 'whole'}")
    assert whole.code == 0, whole.err
    journal = tmp_path / ".out.partial" / ".journal.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.export", *words, f"--out={tmp_path / 'out'}"],
        cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while process.poll() is None and not (journal.exists() and lines(journal) >= 3):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    done = call(COMMANDS, *words, f"--out={tmp_path / 'out'}")
    assert done.code == 0, done.err
    assert "of them were written before it was interrupted" in done.out
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))


def lines(path: Path) -> int:
    return path.read_text("utf-8").count("\n")


def test_what_an_interrupted_export_of_something_else_left_goes(
    mixed: Layout, export: Export, tmp_path: Path
) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / ".journal.jsonl").write_text('{"identity": "other"}\n{"split": "train"}\n')
    (left / "old.tar").write_text("old")
    assert export(mixed, "true", "csv", tmp_path / "out").code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".tessera-export.json", "out.csv",
    ]  # fmt: skip


def test_a_full_disk_is_one_line_and_no_export(large: Layout, tmp_path: Path, call: Call) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        for form in ("webdataset", "parquet", "folder"):
            words = ["true", f"--as={form}", "--shard_mb=1", f"--out={disk / 'out'}"]
            done = call(COMMANDS, *words, large)
            assert done.code == 2
            assert "pace left" in done.err.splitlines()[-1]
            assert done.err.splitlines()[-1].startswith("error: ")
            assert not (disk / "out").exists()
            shutil.rmtree(disk / ".out.partial")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_names_are_safe_whatever_the_style() -> None:
    assert safe_name("浮世絵 / ukiyo-e") == "浮世絵_ukiyo-e"
    for style in ("..", "../../etc", ".hidden", "a/b\\c", "con", "NUL.x", "x" * 500, "é" * 200,
                  "", " ", "test", "Val_1", "a\0b", "line\nbreak", "trailing."):  # fmt: skip
        name = safe_name(style)
        assert name
        assert len(name.encode()) <= 130
        assert not set(name) & set('/\\\0\n<>:"|?*')
        assert not name.startswith((".", "-"))
        assert not name.endswith(".")
        assert name.lower() not in {"con", "nul", "test", "train", "val_1"}
