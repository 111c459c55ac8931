"""Files of the Hugging Face Hub, written by its own library: labels, rows, bytes and odd files."""

import contextlib
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.core.errors import UserError
from toolkit.store.images import PictureError
from toolkit.wikiart.found import Found
from toolkit.wikiart.parquet import check_file, data_files, paintings, read_bytes

ARTISTS = ["Unknown Artist", "boris-kustodiev", "juan-gris"]
GENRES = ["portrait", "Unknown Genre"]
STYLES = ["Cubism", "Realism"]
COUNT = 25
Encode = Callable[..., bytes]


@pytest.fixture
def pictures(encode: Encode, make_picture: Callable[..., np.ndarray]) -> list[bytes]:
    return [encode(make_picture(i)) for i in range(COUNT)]


@pytest.fixture
def table(pictures: list[bytes]) -> datasets.Dataset:
    """Rows whose labels follow from their number: artist i % 3, genre i % 2, style i % 2 and -1."""
    features = datasets.Features({
        "image": datasets.Image(),
        "artist": datasets.ClassLabel(names=ARTISTS),
        "genre": datasets.ClassLabel(names=GENRES),
        "style": datasets.ClassLabel(names=STYLES),
    })  # fmt: skip
    rows = {
        "image": [{"bytes": data, "path": f"juan-gris_work-{i}.jpg" if i % 5 == 2 else None}
                  for i, data in enumerate(pictures)],
        "artist": [i % 3 for i in range(COUNT)],
        "genre": [i % 2 for i in range(COUNT)],
        "style": [-1 if i == 7 else i % 2 for i in range(COUNT)],
    }  # fmt: skip
    return datasets.Dataset.from_dict(rows, features=features)


def found_in(folder: Path) -> list[Found]:
    return list(paintings(folder, Counter()))


@pytest.fixture(params=["parquet", "arrow"])
def folder(table: datasets.Dataset, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "files"
    if request.param == "parquet":
        folder.mkdir()
        table.to_parquet(folder / "train-00000-of-00001.parquet", batch_size=10)
        assert pq.ParquetFile(folder / "train-00000-of-00001.parquet").num_row_groups == 3
    else:
        table.save_to_disk(folder)
    return folder


def test_labels_are_names(folder: Path) -> None:
    found = found_in(folder)
    assert len(found) == COUNT
    assert [x.artist for x in found[:3]] == [None, "boris-kustodiev", "juan-gris"]
    assert [x.genre for x in found[:3]] == ["portrait", None, "portrait"]
    assert [x.style for x in found[6:9]] == ["Cubism", None, "Cubism"]
    assert found[2].title == "work 2"
    assert found[7].title is None  # a name that is not the artist's
    assert found[3].title is None
    assert [x.row for x in found] == list(range(COUNT))


def test_ids_are_stable_and_keys_readable(table: datasets.Dataset, tmp_path: Path) -> None:
    table.to_parquet(tmp_path / "train-00000-of-00072.parquet")
    found = found_in(tmp_path)[17]
    assert found.source_id == "train-00000-of-00072.parquet#17"
    assert found.key == "train-00000-of-00072-000017"


def test_bytes_are_those_that_were_put_in(folder: Path, pictures: list[bytes]) -> None:
    path = folder / next(data_files(folder))
    assert [read_bytes(path, i) for i in range(COUNT)] == pictures
    assert [read_bytes(path, i) for i in (24, 0, 11, 9, 10)] == [
        pictures[i] for i in (24, 0, 11, 9, 10)
    ]
    with pytest.raises(PictureError):
        read_bytes(path, COUNT)


def test_a_replaced_file_is_read_anew(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "a.parquet"
    for text in (b"first", b"second, longer"):
        pq.write_table(pa.table({"image": [{"bytes": text, "path": ""}]}), path)
        assert read_bytes(path, 0) == text


def test_each_row_group_is_walked_once(
    table: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    table.to_parquet(path, batch_size=10)
    walked: list[int] = []
    original = pq.ParquetFile.iter_batches

    def counting(self: Any, *args: Any, **options: Any) -> Any:
        walked.extend(options["row_groups"])
        return original(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counting)
    for row in (*range(COUNT), 24, 5):
        read_bytes(path, row)
    assert walked == [0, 1, 2, 0]


def test_a_large_row_group_is_not_held_in_memory(tmp_path: Path) -> None:
    path, size = tmp_path / "a.parquet", 1_000_000
    noise = [np.random.Generator(np.random.Philox(i)).bytes(size) for i in range(100)]
    rows = pa.table({"image": [{"bytes": data, "path": ""} for data in noise]})
    pq.write_table(rows, path, use_dictionary=False, write_batch_size=1)
    del rows
    assert pq.ParquetFile(path).num_row_groups == 1
    before, most = pa.total_allocated_bytes(), 0
    for row, data in enumerate(noise):
        assert read_bytes(path, row) == data
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 40 * size


def test_damage_costs_the_rows_behind_it_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"bytes": b"%06d" % i * 9000, "path": ""} for i in range(60)]
    pq.write_table(pa.table({"image": rows}), path, row_group_size=30, compression="gzip",
                   use_dictionary=False, data_page_size=1 << 16, write_batch_size=1)  # fmt: skip
    whole = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    at = column.data_page_offset + column.total_compressed_size // 2
    whole[at : at + 400] = bytes(400)
    path.write_bytes(whole)

    def readable(order: list[int]) -> set[int]:
        found = set()
        for row in order:
            with contextlib.suppress(PictureError):
                assert read_bytes(path, row) == rows[row]["bytes"]
                found.add(row)
        return found

    forwards = readable(list(range(60)))
    assert set(range(30, 60)) <= forwards < set(range(60))
    assert set(range(8)) <= forwards
    assert readable(list(range(59, -1, -1))) == forwards


def test_listing_does_not_read_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    noise = [np.random.Generator(np.random.Philox(i)).bytes(100_000) for i in range(50)]
    rows = [{"bytes": data, "path": f"x_{i}.jpg"} for i, data in enumerate(noise)]
    pq.write_table(pa.table({"image": rows, "style": ["s"] * 50}), path)
    assert path.stat().st_size > 50 * 100_000
    found, before, most = [], pa.total_allocated_bytes(), 0
    for painting in paintings(tmp_path, Counter()):
        found.append(painting)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 1_000_000
    assert [x.work for x in found] == [f"x_{i}.jpg" for i in range(50)]


def test_texts_and_missing_columns(tmp_path: Path) -> None:
    rows = [{"bytes": b"x"}, {"bytes": None}]
    pq.write_table(
        pa.table({"image": rows, "artist": ["Unknown Artist", "Juan Gris"]}), tmp_path / "a.parquet"
    )
    found = found_in(tmp_path)
    assert [(x.artist, x.style, x.genre) for x in found] == [
        (None, None, None), ("Juan Gris", None, None),
    ]  # fmt: skip
    with pytest.raises(PictureError, match=r"row 1 of a\.parquet holds no bytes"):
        read_bytes(tmp_path / "a.parquet", 1)
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet")
    assert len(found_in(tmp_path)) == 2


def test_arrow_files_that_are_no_streams(tmp_path: Path) -> None:
    table = pa.table({"image": [{"bytes": b"x", "path": ""}], "style": ["Cubism"]})
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    assert [x.style for x in found_in(tmp_path)] == ["Cubism"]
    assert read_bytes(tmp_path / "a.arrow", 0) == b"x"


def test_other_files_are_one_line(tmp_path: Path, table: datasets.Dataset) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"key": ["a"]}), path)
    with pytest.raises(UserError, match="has no column image with bytes"):
        check_file(path)
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    plain = pq.read_table(io.BytesIO(buffer.getvalue())).replace_schema_metadata(None)
    pq.write_table(plain, path)
    with pytest.raises(UserError, match="numbers its artist without naming the numbers"):
        check_file(path)
    for name in ("a.parquet", "b.arrow"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(UserError, match=f"cannot read .*{name}"):
            check_file(tmp_path / name)
    (tmp_path / "a.parquet").write_bytes(buffer.getvalue()[:-100])
    with pytest.raises(UserError, match="cannot read"):
        check_file(path)
