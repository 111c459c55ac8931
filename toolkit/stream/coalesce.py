"""Neighbouring byte ranges are read together: one long read costs less than many short ones."""

from collections.abc import Iterable
from typing import NamedTuple

MAX_GAP_BYTES = 64 << 10  # read for nothing rather than by another request
MAX_READ_BYTES = 4 << 20


class Piece(NamedTuple):
    """The bytes of one picture. path: of the tar; offset, size: in bytes; role, key: of the
    picture."""

    path: str
    offset: int
    size: int
    role: str
    key: str


class Read(NamedTuple):
    """A range to read at once. pieces: that lie in it, each with the number of its sample."""

    path: str
    offset: int
    size: int
    pieces: list[tuple[Piece, int]]


def coalesce(
    pieces: Iterable[tuple[Piece, int]],
    max_gap: int = MAX_GAP_BYTES,
    max_bytes: int = MAX_READ_BYTES,
) -> list[Read]:
    """The reads that cover the pieces, in the order in which they lie.

    Args:
        pieces: with the numbers of their samples, in any order; they may overlap or be the same
            range twice.
        max_gap: bytes between two pieces that are read along.
        max_bytes: no read grows beyond this; a single larger piece is a read of its own.
    """
    reads: list[Read] = []
    path, start, end, inside = "", 0, 0, list[tuple[Piece, int]]()
    for numbered in sorted(pieces):
        piece = numbered[0]
        stop = piece.offset + piece.size
        if (
            inside
            and piece.path == path
            and piece.offset - end <= max_gap
            and stop - start <= max_bytes
        ):
            end = max(end, stop)
            inside.append(numbered)
            continue
        if inside:
            reads.append(Read(path, start, end - start, inside))
        path, start, end, inside = piece.path, piece.offset, stop, [numbered]
    if inside:
        reads.append(Read(path, start, end - start, inside))
    return reads
