"""Range reads: the right bytes from many threads, retries, and one line when a shard is gone."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.stream.reader import RangeReader


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s.tar"
    path.write_bytes(bytes(i * 7 % 251 for i in range(100_000)))
    return path


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_ranges_are_those_of_the_file_from_many_threads(file: Path) -> None:
    data, reader = file.read_bytes(), RangeReader()
    before = open_files()
    ranges = [(i * 37 % 99_000, 1 + i % 900) for i in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda r: reader.read(file, *r), ranges))
    assert got == [data[offset : offset + size] for offset, size in ranges]
    assert open_files() == before + 1
    reader.close()
    assert open_files() == before
    assert reader.read(file, 5, 3) == data[5:8]  # reading opens it again
    reader.close()


def test_no_bytes_are_no_error(file: Path) -> None:
    assert RangeReader().read(file, 0, 0) == b""


@pytest.mark.parametrize(("offset", "size"), [(99_999, 2), (100_000, 1), (10**9, 5)])
def test_a_shard_that_ends_early_is_one_line(file: Path, offset: int, size: int) -> None:
    with pytest.raises(
        UserError, match=r"s\.tar ends early: check it with python -m toolkit.verify"
    ):
        RangeReader().read(file, offset, size)


def test_a_shard_that_is_gone_stops_the_run_after_retries(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.stream.reader.FIRST_PAUSE_S", 0.001)
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        RangeReader().read(file.with_name("gone.tar"), 0, 1)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        RangeReader().read(file.parent, 0, 1)


def test_a_file_that_fails_once_is_opened_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale handle, as network file systems give it, costs a retry and not the run."""
    monkeypatch.setattr("toolkit.stream.reader.FIRST_PAUSE_S", 0.001)
    reader = RangeReader()
    data = reader.read(file, 0, 10)
    stale = os.open(file, os.O_WRONLY)  # pread on it fails with EBADF
    held = reader._files[file].descriptor
    os.dup2(stale, held)
    os.close(stale)
    assert reader.read(file, 0, 10) == data
    reader.close()
