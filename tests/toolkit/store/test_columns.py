"""Columns that grow on disk: what is read back is what pyarrow makes of the same batches."""

from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from toolkit.store import columns
from toolkit.store.columns import growing

FIELDS = {
    "text": pa.string(), "full": pa.string(), "none": pa.string(), "number": pa.int64(),
    "part": pa.float32(), "shard": pa.int32(),
}  # fmt: skip


def batch(rng: Random, rows: int) -> pa.Table:
    def text() -> str:
        return "".join(rng.choices("aé漢🎨\0 ", k=rng.randrange(6)))

    texts = [text() if rng.random() < 0.7 else None for _ in range(rows)]
    numbers = [rng.choice([None, 7, -(1 << 40)]) for _ in range(rows)]
    return pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "full": pa.array([text() for _ in range(rows)], pa.string()),
            "none": pa.nulls(rows, pa.string()),
            "number": pa.array(numbers, pa.int64()),
            "part": pa.array([rng.random() for _ in range(rows)], pa.float32()),
            "shard": pa.array([rng.randrange(-1, 5) for _ in range(rows)], pa.int32()),
        }
    )


def written(path: Path, batches: list[pa.Table], **changes: columns.Change) -> pa.Table:
    with growing(path) as table:
        for rows in batches:
            table.append({name: rows.column(name) for name in rows.column_names})
        table.write(path, {"fact": "of it"}, changes)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing is left beside it
    with pa.memory_map(str(path)) as mapped:
        return pa.ipc.open_file(mapped).read_all()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rows_at_once", [8, 1 << 20])
def test_they_are_the_rows_that_were_appended(
    seed: int, rows_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_ROWS", rows_at_once)
    rng = Random(seed)
    batches = []
    for _ in range(rng.randrange(1, 6)):
        rows = batch(rng, rng.choice([0, 1, 7, 8, 9, 50]))
        start = rng.randrange(rows.num_rows + 1)  # a slice, whose buffers begin elsewhere
        batches += [rows.slice(start), rows.slice(0, start)]
    found = written(tmp_path / "rows.arrow", batches)
    found.validate(full=True)
    assert found.replace_schema_metadata() == pa.concat_tables(batches)
    assert found.schema.metadata == {b"fact": b"of it"}
    assert all(column.num_chunks <= 1 for column in found.columns)
    assert {name: found.schema.field(name).type for name in FIELDS} == FIELDS


def test_numbers_may_change_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_ROWS", 8)
    batches = [batch(Random(seed), 30) for seed in range(3)]
    found = written(tmp_path / "rows.arrow", batches, shard=lambda values: values * 2 + 1)
    before = pa.concat_tables(batches)
    assert found["shard"].to_pylist() == [2 * n + 1 for n in before["shard"].to_pylist()]
    assert found["text"].to_pylist() == before["text"].to_pylist()


def test_texts_beyond_32_bit_offsets_get_wider_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_MOST", 20)
    batches = [batch(Random(seed), 30) for seed in range(3)]
    found = written(tmp_path / "rows.arrow", batches)
    found.validate(full=True)
    assert found["full"].type == pa.large_string()
    assert found["none"].type == pa.string()  # of no bytes
    assert found["full"].to_pylist() == pa.concat_tables(batches)["full"].to_pylist()
