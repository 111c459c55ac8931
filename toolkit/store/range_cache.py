"""Ranges of remote shards, kept on this machine up to a number of bytes.

One file a range, under names that only this cache gives: what it deletes to make room is a copy by
construction, and the folder of nobody else. TESSERA_CACHE is the folder (~/.cache/tessera),
TESSERA_CACHE_GB the limit (20; 0 keeps nothing).
"""

import contextlib
import hashlib
import os
import threading
import zlib
from pathlib import Path

from toolkit.core.errors import UserError

_SUFFIX = ".range"
_CHECK_BYTES = 4
_KEPT = 0.9  # of the limit, once room is made


def cache_folder() -> Path:
    """Where copies of remote data lie."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TESSERA_CACHE") or Path(home) / "tessera").expanduser()


def open_cache() -> "RangeCache | None":
    """The cache that the environment asks for. Raises UserError for a limit that is no number."""
    text = os.environ.get("TESSERA_CACHE_GB", "20")
    try:
        limit = int(float(text) * 1e9)
    except ValueError:
        raise UserError(
            f"TESSERA_CACHE_GB={text}: takes a number of gigabytes, 0 for none"
        ) from None
    return RangeCache(cache_folder() / "ranges", limit) if limit > 0 else None


class RangeCache:
    """Bytes by (version of an object, offset, size); for several threads and processes at once.

    Args:
        folder: of its own.
        limit: bytes; the ranges that were not read for the longest time go first. Several processes
            may exceed it by what each writes between two looks.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self._limit = folder, limit
        self._lock, self._total = threading.Lock(), -1

    def get(self, version: str, offset: int, size: int) -> bytes | None:
        """What was put, whole and unchanged; None otherwise."""
        path = self._path(version, offset, size)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        if len(body) != size or zlib.crc32(body).to_bytes(_CHECK_BYTES, "little") != check:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the last that will go
        return body

    def put(self, version: str, offset: int, data: bytes) -> None:
        """Keeps a range. A full disk keeps nothing, and is no error."""
        path = self._path(version, offset, len(data))
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data + zlib.crc32(data).to_bytes(_CHECK_BYTES, "little"))
            os.replace(temporary, path)
            self._count(len(data))

    def _path(self, version: str, offset: int, size: int) -> Path:
        name = hashlib.sha256(f"{version} {offset} {size}".encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}{_SUFFIX}"

    def _count(self, added: int) -> None:
        with self._lock:
            if self._total < 0:
                self._total = sum(size for _, size, _ in self._files())
            else:
                self._total += added
            if self._total > self._limit:
                self._make_room()

    def _make_room(self) -> None:
        files = sorted(self._files())  # by the time of the last reading
        self._total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._total <= self._limit * _KEPT:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            self._total -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob(f"??/*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                facts = path.stat()
                found.append((facts.st_mtime, facts.st_size, path))
        return found
