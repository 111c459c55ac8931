"""Walks the headers of a tar that anybody may have made, strictly and in little memory.

`tarfile` ends in silence at a damaged header, reads extended headers of any size into memory and
follows links. Here every oddity is named, since a byte range must mean the same to every reader.
"""

import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from toolkit.core.errors import one_line
from toolkit.store.keys import readable
from toolkit.store.tar import BLOCK_BYTES

MAX_EXTENDED_BYTES = 1 << 20
NO_END_MARK = "tars without an end mark, perhaps cut short"
_CHUNK_BYTES = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_REFUSED = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
_SPARSE_RECORDS = (b"GNU.sparse.", b"SCHILY.realsize")


class TarRefused(Exception):
    """Why a tar cannot be used, in one line that the tar's name is put in front of."""

    def __init__(self, reason: str):
        super().__init__(one_line(readable(reason)))


@dataclass(frozen=True)
class TarFile:
    """A plain file inside a tar. offset: of its bytes."""

    name: str
    offset: int
    size: int


def compression(path: Path) -> str | None:
    """How a file is compressed as a whole (gzip, bzip2, xz or zstd), or None. Raises TarRefused."""
    with _opened(path) as file:
        head = file.read(BLOCK_BYTES)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    return None


def files(path: Path, notes: Counter[str] | None = None) -> Iterator[TarFile]:
    """Yields the plain files of an uncompressed tar in their order; folders are passed over.

    Args:
        path: the tar.
        notes: counts what is odd but harmless.

    Raises:
        TarRefused: damaged, cut short, no tar at all, or with a member that is no plain file.
    """
    with _opened(path) as file:
        try:
            yield from _files(file, Counter() if notes is None else notes)
        except OSError as error:
            raise TarRefused(f"cannot be read: {error.strerror}") from None


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise TarRefused(f"cannot be read: {error.strerror}") from None


def _files(file: BinaryIO, notes: Counter[str]) -> Iterator[TarFile]:
    end, place = os.fstat(file.fileno()).st_size, 0
    long_name, records = b"", dict[bytes, bytes]()
    while block := _read(file, place, BLOCK_BYTES):
        if block.count(0) == len(block):
            _check_the_rest(file, place)
            break
        info = _header(block, place)
        start, place = place + BLOCK_BYTES, place + BLOCK_BYTES + _blocks(info.size)
        if info.size < 0 or start + info.size > end:
            raise TarRefused(f"{info.name} goes beyond the end of the file: it was cut short")
        if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE):
            found = _pax_records(_extended(file, start, info.size))
            if info.type == tarfile.XGLTYPE and {b"path", b"size"} & found.keys():
                raise TarRefused("a global header gives names or sizes to all members")
            records |= found
        elif info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = _extended(file, start, info.size).split(b"\0")[0]
        elif info.type != tarfile.GNUTYPE_LONGLINK:  # the link that follows is refused by itself
            found_file = _member(info, start, long_name, records)
            if found_file is not None:
                yield found_file
            long_name, records = b"", {}
    else:
        if not end:
            raise TarRefused("is empty")
        notes[NO_END_MARK] += 1
    if long_name or records.keys() & {b"path", b"size"}:
        raise TarRefused("ends after the long name of a member: it was cut short")


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, place)


def _blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _header(block: bytes, place: int) -> tarfile.TarInfo:
    if len(block) < BLOCK_BYTES and place:
        raise TarRefused(f"ends inside a header at byte {place}: it was cut short")
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        what = f"is damaged: no header at byte {place}" if place else "is not a plain tar"
        raise TarRefused(f"{what} ({error})") from None


def _extended(file: BinaryIO, place: int, size: int) -> bytes:
    if size > MAX_EXTENDED_BYTES:
        raise TarRefused(f"an extended header at byte {place} is larger than a name can be")
    return _read(file, place, size)


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """The records `LENGTH KEY=VALUE\\n` of an extended header."""
    records = {}
    while data.strip(b"\0"):
        digits = data.split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() and len(digits) < 10 else 0
        record = data[:length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or not record.endswith(b"\n") or len(record) != length:
            raise TarRefused("has an extended header that cannot be read")
        records[key] = value
        data = data[length:]
    return records


def _member(
    info: tarfile.TarInfo, start: int, long_name: bytes, records: dict[bytes, bytes]
) -> TarFile | None:
    """The file that a header and the extended headers before it describe; None for a folder."""
    given = records.get(b"path", long_name)
    name = given.decode("utf-8", "surrogateescape") if given else info.name
    if any(key.startswith(_SPARSE_RECORDS) for key in records):
        raise TarRefused(f"{name} is a sparse file, which has no bytes in one piece")
    if b"size" in records and records[b"size"] != str(info.size).encode():
        raise TarRefused(f"{name} has two sizes: readers would disagree on where its bytes end")
    if info.isdir():
        return None
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        what = _REFUSED.get(info.type, f"a member of the unknown type {info.type!r}")
        raise TarRefused(f"{name} is {what}, which has no bytes of its own in one piece")
    return TarFile(name, start, info.size)


def _check_the_rest(file: BinaryIO, place: int) -> None:
    """Behind the end mark only zeros may stand: what follows there would be lost in silence."""
    while chunk := _read(file, place, _CHUNK_BYTES):
        if chunk.count(0) != len(chunk):
            raise TarRefused(
                f"goes on behind its end mark at byte {place}: join tars with tar --concatenate, "
                "not with cat"
            )
        place += len(chunk)
