"""Plain copies of compressed tars in a temporary folder, since a byte range needs one.

At most `MAX_COPIES` are kept at a time, whatever the number of tars; one that is gone is made again
when it is needed. The folder goes with the object that made it. A killed process leaves it behind,
named `tessera-…`, in the folder for temporary files.
"""

import bz2
import contextlib
import gzip
import hashlib
import lzma
import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.core.errors import UserError
from toolkit.core.files import atomic_path
from toolkit.core.tree import stamp_of
from toolkit.store.tar_walk import TarRefused

MAX_COPIES = 8
_CHUNK_BYTES = 1 << 20


class PlainCopies:
    """Copies that the object and its pickled twins in other processes share; the original removes
    them in the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tessera-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def __reduce__(self) -> tuple[type, tuple[()], dict[str, Path]]:
        return _Twin, (), {"folder": self.folder}

    def plain(self, path: Path, kind: str) -> Path:
        """The plain copy of a tar that is compressed as `kind` says. Raises TarRefused."""
        identity = hashlib.sha256(f"{path.absolute()} {stamp_of(path)}".encode(errors="replace"))
        copy = self.folder / f"{identity.hexdigest()[:32]}.tar"
        try:
            os.utime(copy)  # the copies that were not used for longest go first
        except FileNotFoundError:
            self._make_room()
            _decompress(path, kind, copy)
        return copy

    def open(self, path: Path, kind: str) -> BinaryIO:
        """Opens the plain copy; another process may remove it at any time. Raises TarRefused."""
        for _ in range(MAX_COPIES):
            with contextlib.suppress(FileNotFoundError):
                return open(self.plain(path, kind), "rb")
        raise UserError(f"{self.folder} keeps losing files: pack with fewer --jobs")

    def _make_room(self) -> None:
        ages = []
        for copy in self.folder.glob("*.tar"):
            with contextlib.suppress(FileNotFoundError):
                ages.append((copy.stat().st_mtime_ns, copy))
        for _, copy in sorted(ages)[: max(0, len(ages) + 1 - MAX_COPIES)]:
            copy.unlink(missing_ok=True)


class _Twin(PlainCopies):
    """In another process: uses the folder, does not remove it."""

    def __init__(self) -> None:
        pass


def _decompress(path: Path, kind: str, copy: Path) -> None:
    openers: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    if kind not in openers:
        raise TarRefused(f"is compressed ({kind}), which is not read here: uncompress it")
    with contextlib.ExitStack() as stack:
        try:
            packed = stack.enter_context(openers[kind](path, "rb"))
        except OSError as error:
            raise TarRefused(f"cannot be read: {error.strerror}") from None
        with atomic_path(copy) as temporary, open(temporary, "wb") as plain:
            while chunk := _next_chunk(packed, kind):
                plain.write(chunk)


def _next_chunk(packed: BinaryIO, kind: str) -> bytes:
    try:
        return packed.read(_CHUNK_BYTES)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise TarRefused(f"does not decompress ({kind}: {error})") from None
