"""Reads byte ranges of shards. Input and output errors are retried and then stop the run."""

import contextlib
import os
import threading
import time
from collections.abc import Sequence

from toolkit.core.errors import UserError
from toolkit.core.places import is_remote
from toolkit.stream.coalesce import Piece, Read
from toolkit.stream.remote import RemoteReader

RETRIES = 3
FIRST_PAUSE_S = 0.2
MAX_OPEN = 256  # systems commonly allow a process 1,024
_ADVICE = "check the data with python -m toolkit.verify"


class RangeReader:
    """Reads ranges of local files; may be used from several threads at once.

    A file is opened at its first use and stays open until `close`, or until many others were.
    Ranges of remote shards are fetched by `RemoteReader`.
    """

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._lock = threading.Lock()
        self._remote: RemoteReader | None = None

    def read(self, path: str, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`. Raises UserError when they cannot be had."""
        if is_remote(path):
            return self._far().read(path, offset, size)
        for attempt in range(RETRIES + 1):
            try:
                file = self._file(path)  # held, or another thread could have it closed
                data = _whole_read(file.descriptor, size, offset)
                break
            except OSError as error:
                if attempt == RETRIES:
                    reason = error.strerror or error
                    raise UserError(
                        f"the shard {path} cannot be read: {reason}; {_ADVICE}"
                    ) from None
                with self._lock:
                    self._files.pop(path, None)
                time.sleep(FIRST_PAUSE_S * 2**attempt)
        if len(data) != size:
            raise UserError(f"the shard {path} ends early: {_ADVICE}")
        return data

    def will_need(self, reads: Sequence[Read]) -> None:
        """Tells the system to fetch the reads from the disk soon, in the background, unless the
        first of them is in its memory. What is wrong with a file is told when it is read."""
        far = [read for read in reads if is_remote(read.path)]
        if far:
            self._far().will_need(far)
        near = [read for read in reads if not is_remote(read.path)] if far else reads
        with contextlib.suppress(OSError, AttributeError):  # Linux alone has these calls
            # asking for all would cost more than it saves
            if not near or self._in_memory(near[0]):
                return
            for read in near:
                file = self._file(read.path)
                os.posix_fadvise(file.descriptor, read.offset, read.size, os.POSIX_FADV_WILLNEED)

    def _in_memory(self, read: Read) -> bool:
        try:
            file = self._file(read.path)
            return os.preadv(file.descriptor, [bytearray(1)], read.offset, os.RWF_NOWAIT) == 1
        except OSError:  # it would have to wait, or cannot tell
            return False

    def close(self) -> None:
        """Closes all files; reading opens them again."""
        with self._lock:
            self._files.clear()
            remote, self._remote = self._remote, None
        if remote:
            remote.close()

    def _far(self) -> RemoteReader:
        with self._lock:
            self._remote = self._remote or RemoteReader()
            return self._remote

    def _file(self, path: str) -> "_File":
        file = self._files.get(path)
        if file is not None:
            return file
        with self._lock:
            if path not in self._files:
                self._files[path] = _File(path)
                if len(self._files) > MAX_OPEN:
                    del self._files[next(iter(self._files))]  # the one that was opened first
            return self._files[path]


def _whole_read(descriptor: int, size: int, offset: int) -> bytes:
    """What is there of a range: file systems over a network may hand it out in parts."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


class SharedRead:
    """One read from which several threads take each piece once. The first reads, and the last lets
    go of the bytes."""

    def __init__(self, reader: RangeReader, read: Read):
        self._reader, self._read = reader, read
        self._lock, self._left = threading.Lock(), len(read.pieces)
        self._data = b""

    def bytes_of(self, piece: Piece) -> bytes:
        """The bytes of one of the read's pieces. Raises UserError when they cannot be had."""
        read = self._read
        if len(read.pieces) == 1:
            return self._reader.read(piece.path, piece.offset, piece.size)
        with self._lock:
            if self._left == len(read.pieces):
                self._data = self._reader.read(read.path, read.offset, read.size)
            self._left -= 1
            data = self._data
            if not self._left:
                self._data = b""
        start = piece.offset - read.offset
        return data[start : start + piece.size]


class _File:
    """An open file that closes itself when its last user, perhaps in another thread, is done."""

    def __init__(self, path: str):
        self._close = os.close  # the module may be gone when the interpreter ends
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            self._close(self.descriptor)
