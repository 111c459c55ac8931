"""The inspect command: lists, one sample, statistics."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.records import Record
from toolkit.inspect import ls, show, stats
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

Inspect = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(triplets: Layout, toy_source: type, encode: Any, make_picture: Any) -> Layout:
    """The linked datasets and one with a copy and a failed input."""
    picture = encode(make_picture(1, 64, 40))
    records = {"a": Record({"jpg": picture}, style="x", artist="p", captions=("c",), split="train"),
               "b": Record({"jpg": picture}, style="y", artist="p", split="val"),
               "c": Record({"jpg": b"bad"})}  # fmt: skip
    pack(toy_source("mixed", records), "mixed", triplets, 2)
    return triplets


@pytest.fixture
def inspect(data: Layout, call: Callable[..., Any]) -> Inspect:
    commands = {"ls": ls, "show": show, "stats": stats}
    return lambda *args: call(commands, *args, data)


def rows(result: tuple[int, str, str]) -> list[dict[str, Any]]:
    assert (result[0], result[2]) == (0, "")
    return list(json.loads(result[1]))


def test_ls_lists_the_datasets(inspect: Inspect, data: Layout) -> None:
    found = rows(inspect("ls", "--format=json"))
    assert [(r["dataset"], r["samples"], r["failed"], r["shards"], r["styles"]) for r in found] == [
        ("circles", 7, 0, 2, 0), ("mixed", 2, 1, 2, 2), ("paintings", 4, 0, 1, 2),
        ("photos", 6, 0, 2, 0), ("targets", 13, 0, 3, 2),
    ]  # fmt: skip
    size = sum(path.stat().st_size for path in (data.shards / "targets").iterdir())
    assert found[4]["megabytes"] == round(size / 1e6, 2)


def test_ls_lists_the_shards_of_one(inspect: Inspect) -> None:
    found = rows(inspect("ls", "targets", "--format=json"))
    assert [(r["shard"], r["samples"]) for r in found] == [
        ("targets-000000", 5), ("targets-000001", 5), ("targets-000002", 3),
    ]  # fmt: skip


def test_show_prints_a_sample_and_writes_its_members(
    inspect: Inspect, data: Layout, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "look"
    code, text, err = inspect("show", "targets/target07", f"--out={out}")
    assert (code, err) == (0, "")
    lines = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}
    assert lines["key"] == "target07"
    assert lines["style"] == "Ukiyo_e"
    assert lines["links"] == (
        "role=content, dataset=photos, key=photo1; role=style, dataset=paintings, key=painting3"
    )
    row = next(r for path in data.manifests_of("targets") for r in read_manifest(path)
               if r["key"] == "target07")  # fmt: skip
    for member in row["members"]:
        written = (out / f"target07.{member['ext']}").read_bytes()
        assert hashlib.sha256(written).hexdigest() == member["sha256"]
    assert len(list(out.iterdir())) == 3


def test_show_of_a_failed_input_says_why(inspect: Inspect) -> None:
    code, out, _ = inspect("show", "mixed/c")
    assert code == 0
    assert "not_a_picture" in out


def test_stats_count_what_is_there(inspect: Inspect) -> None:
    found = {row["dataset"]: row for row in rows(inspect("stats", "--format=json"))}
    mixed = found["mixed"]
    assert {name: mixed[name] for name in (
        "rows", "ok", "failed", "train", "val", "test", "min_px", "max_px", "styles", "artists",
        "captioned", "same_bytes", "same_phash",
    )} == {
        "rows": 3, "ok": 2, "failed": 1, "train": 2, "val": 1, "test": 0, "min_px": 40,
        "max_px": 64, "styles": 2, "artists": 1, "captioned": 1, "same_bytes": 1, "same_phash": 1,
    }  # fmt: skip
    assert found["targets"]["captioned"] == 13
    assert found["targets"]["same_bytes"] == 0


def test_stats_of_a_part(inspect: Inspect) -> None:
    (row,) = rows(inspect("stats", "style='Cubism'", "--datasets=targets", "--format=json"))
    assert (row["dataset"], row["rows"], row["styles"]) == ("targets", 7, 1)


def test_stats_name_the_causes_of_failures(inspect: Inspect) -> None:
    code, out, _ = inspect("stats")
    assert code == 0
    assert out.splitlines()[-1].split() == ["mixed", "not_a_picture", "1"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ls", "nothing"], "there is no dataset 'nothing': packed are circles"),
        (["show", "target07"], "write DATASET/KEY"),
        (["show", "targets"], "targets is a dataset: write targets/KEY"),
        (["show", "nothing/x"], "no dataset 'nothing'"),
        (["show", "targets/x"], "there is no sample 'x' in the dataset targets"),
        (["show", "../targets/x"], "no dataset '..'"),
        (["stats", "(select 1) = 1"], "where holds a sub-query"),
        (["stats", "getenv('HOME') = 'x'"], "may not use the function getenv"),
        (["stats", "styl = 1"], "did you mean style?"),
        (["ls", "--format=keys"], "choose one of table, json, csv"),
        (["show"], "sample is missing"),
    ],
)
def test_mistakes_are_one_line(inspect: Inspect, args: list[str], message: str) -> None:
    code, out, err = inspect(*args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_line(inspect: Inspect) -> None:
    code, _, err = inspect("show", "targets/target00", "--out=/proc/tessera")
    assert code == 2
    assert "cannot write to /proc/tessera" in err
    assert err.count("\n") == 1


def test_the_real_command_without_arguments_lists_its_parts(
    run_command: Any, tmp_path: Path
) -> None:
    done = run_command("toolkit.inspect", cwd=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[2:5]] == ["ls", "show", "stats"]
