"""Ranges of shards in an object store: fetched ahead by threads of their own, retried, cached."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath

from toolkit.core.errors import UserError
from toolkit.core.places import RemotePath
from toolkit.store.objects import Objects, open_objects, retried
from toolkit.store.range_cache import RangeCache, open_cache
from toolkit.stream.coalesce import Read

AT_ONCE = 16  # requests
MAX_AHEAD_BYTES = 64 << 20
_Key = tuple[str, int, int]


class RemoteReader:
    """Reads ranges of remote objects; may be used from several threads at once.

    Args:
        cache: keeps ranges on this machine; None for the one that the environment asks for.
    """

    def __init__(self, cache: RangeCache | None = None):
        self._cache = cache or open_cache()
        self._stores: dict[str, Objects] = {}
        self._versions: dict[str, str] = {}
        self._ahead: dict[_Key, Future[bytes]] = {}
        self._ahead_bytes, self._lock = 0, threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def read(self, path: str, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`. Raises UserError when they cannot be had."""
        with self._lock:
            begun = self._ahead.pop((path, offset, size), None)
        if begun is None:
            return self._fetch(path, offset, size)
        try:
            return begun.result()
        finally:
            with self._lock:
                self._ahead_bytes -= size

    def will_need(self, reads: Sequence[Read]) -> None:
        """Begins to fetch ranges, as far as the cap on bytes ahead allows. What goes wrong is told
        when they are read."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(AT_ONCE, "fetch")
            for read in reads:
                key = (read.path, read.offset, read.size)
                if key in self._ahead or self._ahead_bytes + read.size > MAX_AHEAD_BYTES:
                    continue
                self._ahead_bytes += read.size
                self._ahead[key] = self._pool.submit(self._fetch, *key)

    def close(self) -> None:
        """Forgets what was fetched ahead."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._ahead.clear()
            self._ahead_bytes = 0
        if pool:
            pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, path: str, offset: int, size: int) -> bytes:
        if not size:
            return b""
        version = self._version(path) if self._cache else ""
        found = self._cache.get(version, offset, size) if self._cache else None
        if found is not None:
            return found
        store, name = self._open(path)

        def read() -> bytes:
            data = store.read(name, offset, size)
            if len(data) != size:
                self._refuse_end(path, offset + size)
                raise OSError(f"{len(data)} of {size} bytes came")
            return data

        data = retried(read, f"the shard {path}")
        if self._cache:
            self._cache.put(version, offset, data)
        return data

    def _version(self, path: str) -> str:
        """Of the whole object, asked for once, so that a cache never answers for other bytes."""
        if path not in self._versions:
            store, name = self._open(path)
            entry = retried(lambda: store.entry(name), f"the shard {path}")
            self._versions[path] = f"{path} {entry.version} {entry.size}"
        return self._versions[path]

    def _refuse_end(self, path: str, end: int) -> None:
        store, name = self._open(path)
        entry = retried(lambda: store.entry(name), f"the shard {path}")
        if entry.size < end:
            raise UserError(
                f"the shard {path} ends early: check the data with python -m toolkit.verify"
            )

    def _open(self, path: str) -> tuple[Objects, str]:
        """The store of the object's folder, and its name there."""
        place: PurePosixPath = RemotePath(path)
        root = str(place.parent)
        with self._lock:
            if root not in self._stores:
                self._stores[root] = open_objects(root)
            return self._stores[root], place.name
