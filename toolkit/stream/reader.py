"""Reads byte ranges of shards. Input and output errors are retried and then stop the run."""

import os
import threading
import time

from toolkit.core.errors import UserError

RETRIES = 3
FIRST_PAUSE_S = 0.2


class RangeReader:
    """Reads ranges of local files; may be used from several threads at once.

    A file is opened at its first use and stays open until `close`.
    """

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}
        self._lock = threading.Lock()

    def read(self, path: str, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`. Raises UserError when they cannot be had."""
        for attempt in range(RETRIES + 1):
            try:
                data = os.pread(self._descriptor(path), size, offset)
                break
            except OSError as error:
                if attempt == RETRIES:
                    reason = error.strerror or error
                    raise UserError(f"the shard {path} cannot be read: {reason}") from None
                self._forget(path)
                time.sleep(FIRST_PAUSE_S * 2**attempt)
        if len(data) != size:
            raise UserError(f"the shard {path} ends early: check it with python -m toolkit.verify")
        return data

    def close(self) -> None:
        """Closes all files; reading opens them again."""
        with self._lock:
            for descriptor in self._descriptors.values():
                os.close(descriptor)
            self._descriptors.clear()

    def _descriptor(self, path: str) -> int:
        with self._lock:
            if path not in self._descriptors:
                self._descriptors[path] = os.open(path, os.O_RDONLY)
            return self._descriptors[path]

    def _forget(self, path: str) -> None:
        with self._lock:
            descriptor = self._descriptors.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)
