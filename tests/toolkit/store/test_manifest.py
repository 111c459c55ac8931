"""The manifest's columns are the documented ones, and the same rows give the same bytes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.core.errors import UserError
from toolkit.store.manifest import (
    FINGERPRINT,
    SCHEMA,
    SCHEMA_VERSION,
    SHARD_SHA256,
    manifest_metadata,
    read_manifest,
    to_json,
    write_manifest,
)

DICTIONARY = Path(__file__).resolve().parents[3] / "manifests" / "README.md"
TYPES = {
    "string": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "bool": pa.bool_(),
    "float32": pa.float32(), "list of string": pa.list_(pa.string()),
}  # fmt: skip
ROWS = [
    {
        "key": "a", "dataset": "d", "shard": "d-000000", "status": "ok", "width": 3,
        "captions": ["é", ""], "phash": -(2**63), "weight": 0.5, "protocol_exact": False,
        "members": [{"ext": "jpg", "offset": 2**40, "size": 9, "sha256": "00"}],
        "links": [{"role": "content", "dataset": "c", "key": "k"}],
    },
    {"key": "b", "dataset": "d", "shard": "d-000000", "status": "failed", "cause": "empty"},
]  # fmt: skip


def documented() -> list[tuple[str, str, str]]:
    """(column, type, meaning) of the table under "Columns"."""
    text = DICTIONARY.read_text("utf-8").partition("## Columns")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", text, re.MULTILINE)
    return [(name, kind.strip(), meaning) for name, kind, meaning in found]


def test_the_schema_is_the_column_dictionary() -> None:
    assert [name for name, _, _ in documented()] == SCHEMA.names
    assert f"schema version {SCHEMA_VERSION}" in DICTIONARY.read_text("utf-8")


def test_the_types_are_the_documented_ones() -> None:
    for name, kind, meaning in documented():
        actual = SCHEMA.field(name).type
        if kind == "list of struct":
            assert pa.types.is_list(actual)
            fields = [actual.value_type.field(i).name for i in range(actual.value_type.num_fields)]
            assert fields == re.findall(r"`(\w+)`", meaning)[: len(fields)]
        else:
            assert actual == TYPES[kind], name


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.parquet", ROWS, "finger", "ab" * 32)
    got = read_manifest(tmp_path / "m.parquet")
    assert [{k: v for k, v in row.items() if v is not None} for row in got] == ROWS
    assert all(list(row) == SCHEMA.names for row in got)
    metadata = manifest_metadata(tmp_path / "m.parquet")
    assert metadata[FINGERPRINT] == b"finger"
    assert metadata[SHARD_SHA256] == b"ab" * 32
    assert metadata[b"tessera.schema_version"] == str(SCHEMA_VERSION).encode()


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    backwards = [dict(reversed(row.items())) for row in ROWS]
    write_manifest(tmp_path / "one", ROWS, "f", "00")
    write_manifest(tmp_path / "other", backwards, "f", "00")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_any_parquet_reader_reads_it(tmp_path: Path) -> None:
    import duckdb

    write_manifest(tmp_path / "m.parquet", ROWS, "f", "00")
    assert pq.read_table(tmp_path / "m.parquet").column("key").to_pylist() == ["a", "b"]
    query = f"SELECT key, members[1].offset FROM '{tmp_path}/m.parquet' WHERE phash < 0"
    assert duckdb.connect().execute(query).fetchall() == [("a", 2**40)]


def test_a_row_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        write_manifest(tmp_path / "m", [{**ROWS[0], "key": None}], "f", "00")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["empty", "junk", "cut", "missing", "middle"])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.parquet"
    write_manifest(path, ROWS, "f", "00")
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = data[:8] + b"\xaa" * (len(data) // 2) + data[8 + len(data) // 2 :]
        cases = {"empty": b"", "junk": b"x" * 100, "cut": data[:-20], "middle": middle}
        path.write_bytes(cases[damage])
    with pytest.raises(UserError, match="is damaged"):
        read_manifest(path)


def test_json_is_canonical() -> None:
    one, other = (
        {"b": [1, "é"], "a": {"y": 1, "x": None}},
        {"a": {"x": None, "y": 1}, "b": [1, "é"]},
    )
    assert to_json(one) == to_json(other) == '{"a":{"x":null,"y":1},"b":[1,"é"]}'
    assert json.loads(to_json(one)) == one


def test_the_largest_numbers_and_odd_characters_survive(tmp_path: Path) -> None:
    texts = ["a\0b", "\u2028", "\U0001f600", '"\\/', "x" * 3_000_000]
    rows = [
        {**ROWS[0], "key": f"k{number}", "caption": text, "phash": number - 2**63,
         "captions": [text], "weight": 0.1, "width": 2**31 - 1, "attempt": -(2**31)}
        for number, text in enumerate(texts)
    ]  # fmt: skip
    path = tmp_path / "d-000000.parquet"
    write_manifest(path, rows, "f", "0" * 64)
    for given, found in zip(rows, read_manifest(path), strict=True):
        assert {name: found[name] for name in given if name != "weight"} == {
            name: value for name, value in given.items() if name != "weight"
        }
        assert found["weight"] == pytest.approx(0.1, rel=1e-7)


@pytest.mark.parametrize("row", [{"no_such_column": 1}, {"width": "wide"}, {"key": None}])
def test_a_row_that_is_none_is_refused(row: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowInvalid):
        write_manifest(tmp_path / "d-000000.parquet", [{**ROWS[0], **row}], "f", "0" * 64)
    assert not list(tmp_path.iterdir())


def test_pandas_is_left_alone(tmp_path: Path) -> None:
    """Where it is installed, importing it takes longer than all else that a packing process
    imports."""
    pytest.importorskip("pandas")
    code = (
        "import sys; from pathlib import Path; from toolkit.store.manifest import *; "
        f"path = Path({str(tmp_path / 'd-000000.parquet')!r}); "
        f"write_manifest(path, {ROWS!r}, '', ''); "
        "print(len(read_manifest(path)), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
