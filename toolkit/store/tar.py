"""Plain, uncompressed USTAR shards: the same samples give the same bytes.

mtime, owner and mode are fixed, the members of one sample are adjacent, and the offset of each
member's bytes is returned, so that any of them can be read by range later.
"""

import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 512
_BUFFER_BYTES = 1 << 20
_NAME_BYTES, _SIZE, _CHECKSUM = 100, slice(124, 136), slice(148, 156)  # of a USTAR header


@dataclass(frozen=True)
class Member:
    """One file inside a shard. ext: the name's part after the first dot; offset: of its bytes."""

    ext: str
    offset: int
    size: int
    sha256: str


class ShardWriter:
    """Writes samples to one tar. Use as a context manager; the caller renames the finished file.

    After the block `sha256` is the file's hash. Headers are tarfile's; since only name, size and
    checksum differ from member to member, they are patched, at a tenth of the cost.
    """

    sha256: str

    def __init__(self, path: Path):
        self._file: BinaryIO = open(path, "wb", buffering=_BUFFER_BYTES)  # noqa: SIM115 - __exit__
        self._digest = hashlib.sha256()
        self._offset = 0
        self._template = _info("", 0).tobuf(tarfile.USTAR_FORMAT, "utf-8")

    def write(self, key: str, members: Mapping[str, bytes]) -> list[Member]:
        """Appends the members of one sample, in the given order."""
        written = []
        for ext, data in members.items():
            header = self._header(f"{key}.{ext}", len(data))
            offset = self._offset + len(header)
            self._append(header, data, bytes(-len(data) % BLOCK_BYTES))
            written.append(Member(ext, offset, len(data), hashlib.sha256(data).hexdigest()))
        return written

    def _header(self, name: str, size: int) -> bytes:
        encoded = name.encode()
        if len(encoded) > _NAME_BYTES or size >= 8**11:
            return _info(name, size).tobuf(tarfile.USTAR_FORMAT, "utf-8")
        unsigned = b"".join(
            (encoded.ljust(_NAME_BYTES, b"\0"), self._template[_NAME_BYTES:_SIZE.start],
             b"%011o\0" % size, self._template[_SIZE.stop:_CHECKSUM.start], b" " * 8,
             self._template[_CHECKSUM.stop:])
        )  # fmt: skip
        checksum = b"%06o\0 " % sum(unsigned)
        return unsigned[: _CHECKSUM.start] + checksum + unsigned[_CHECKSUM.stop :]

    def _append(self, *parts: bytes) -> None:
        for part in parts:
            self._file.write(part)
            self._digest.update(part)
            self._offset += len(part)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        try:
            if kind is None:  # two empty blocks end a tar, whose size is a whole number of records
                self._append(bytes(2 * BLOCK_BYTES))
                self._append(bytes(-self._offset % tarfile.RECORDSIZE))
                self.sha256 = self._digest.hexdigest()
        finally:
            self._file.close()


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, 0, 0o644
    info.uid = info.gid = 0
    info.uname = info.gname = "tessera"
    return info
