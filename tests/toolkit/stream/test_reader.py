"""Range reads: the right bytes from many threads, retries, and one line when a shard is gone."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.stream.coalesce import Piece, coalesce
from toolkit.stream.reader import RangeReader, SharedRead


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
        UserError, match=r"s\.tar ends early: check the data with python -m toolkit.verify"
    ):
        RangeReader().read(file, offset, size)


def test_a_file_system_that_hands_ranges_out_in_parts_is_asked_on(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, real = file.read_bytes(), os.pread
    monkeypatch.setattr(os, "pread", lambda number, size, at: real(number, min(size, 700), at))
    assert RangeReader().read(file, 50, 9_999) == whole[50:10_049]
    with pytest.raises(UserError, match="ends early"):
        RangeReader().read(file, 99_000, 1_001)


def test_a_shard_that_is_gone_stops_the_run_after_retries(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.stream.reader.FIRST_PAUSE_S", 0.001)
    with pytest.raises(UserError, match="cannot be read: No such file or directory; check"):
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


def test_only_so_many_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.stream.reader.MAX_OPEN", 5)
    reader, before = RangeReader(), open_files()
    paths = [tmp_path / f"{i}.tar" for i in range(40)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 100)
    with ThreadPoolExecutor(8) as pool:
        wanted = [(i * 7) % 40 for i in range(2000)]
        got = list(pool.map(lambda i: reader.read(str(paths[i]), 3, 2), wanted))
    assert got == [bytes([i]) * 2 for i in wanted]
    assert open_files() <= before + 5
    reader.close()
    assert open_files() == before


def test_what_is_not_in_memory_is_fetched_before_it_is_read(tmp_path: Path) -> None:
    """The kernel tells: a read that may not wait fails on a file dropped from memory, and after
    `will_need` of a range it succeeds."""
    path = tmp_path / "s.tar"
    path.write_bytes(os.urandom(8 << 20))
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        there = 6 << 20
        if in_memory(file.fileno(), there):
            pytest.skip("this file system keeps everything in memory")
        reader = RangeReader()
        piece = Piece(str(path), there, 5000, "target", "k")
        reader.will_need(coalesce([(piece, 0)]))
        until = time.monotonic() + 10
        while not in_memory(file.fileno(), there) and time.monotonic() < until:
            time.sleep(0.01)
        assert in_memory(file.fileno(), there)
    reader.will_need(coalesce([(piece._replace(path=str(tmp_path / "gone")), 0)]))  # read tells it
    reader.close()


def in_memory(descriptor: int, offset: int) -> bool:
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except OSError:
        return False


def test_a_shared_read_happens_once_and_lets_go(file: Path) -> None:
    data = file.read_bytes()
    pieces = [Piece(str(file), 1000 + 50 * i, 40, "target", str(i)) for i in range(100)]
    (read,) = coalesce((piece, i) for i, piece in enumerate(pieces))
    calls = []

    class Counting(RangeReader):
        def read(self, path: str, offset: int, size: int) -> bytes:
            calls.append((offset, size))
            return super().read(path, offset, size)

    reader = Counting()
    shared = SharedRead(reader, read)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(shared.bytes_of, pieces))
    assert got == [data[p.offset : p.offset + p.size] for p in pieces]
    assert calls == [(1000, 99 * 50 + 40)]
    assert not shared._data
    reader.close()
