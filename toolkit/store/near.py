"""Pictures that are nearly the same, by their perceptual hashes, found in SQL.

Hashes within D bits of each other agree in at least one of D + 1 bands of bits (pigeonhole), so a
join over bands finds all such pairs without comparing each with each. Bands of few bits are shared
by so many hashes that comparing each with each is the faster.
"""

from typing import Any

SAME_BITS = 4
"""At most so many bits apart, two pictures are copies of each other."""
ALIKE_BITS = 8
"""At most so many bits apart, a content and a style are too much alike to be a pair."""
_BANDED = 8  # bits up to which bands are worth it


def near_pairs(left: str, right: str, bits: int) -> str:
    """SQL for the distinct pairs (l, r) of hashes of two tables that are within `bits` of each
    other.

    Args:
        left, right: SQL of tables with a BIGINT column `phash`, nulls included. Of twice the same
            SQL each pair is found once, l < r.
        bits: greatest Hamming distance, 0..64.
    """
    order = "l.phash < r.phash AND " if left == right else ""
    close = f"{order}bit_count(xor(l.phash, r.phash)) <= {bits}"
    both = "SELECT DISTINCT l.phash AS l, r.phash AS r"
    if bits <= _BANDED:
        return (
            f"{both} FROM ({_bands(left, bits)}) AS l JOIN ({_bands(right, bits)}) AS r "
            f"ON l.band = r.band AND l.part = r.part WHERE {close}"
        )
    return f"{both} FROM ({_distinct(left)}) AS l JOIN ({_distinct(right)}) AS r ON {close}"


def near_hashes(left: str, right: str, bits: int) -> str:
    """SQL for the distinct hashes of `left` that are within `bits` of one of `right`, another
    table; as of `near_pairs`."""
    return f"SELECT DISTINCT l FROM ({near_pairs(left, right, bits)})"


def _bands(table: str, bits: int) -> str:
    width = 64 // (bits + 1)
    return (
        f"SELECT phash, band, (phash >> (band * {width})) & {(1 << width) - 1} AS part "
        f"FROM ({_distinct(table)}), range({bits + 1}) AS bands(band)"
    )


def _distinct(table: str) -> str:
    return f"SELECT DISTINCT phash FROM ({table}) WHERE phash IS NOT NULL"


def are_alike(a: Any, b: Any) -> bool:
    """Whether two hashes are within `ALIKE_BITS`; False where one is missing."""
    if a is None or b is None:
        return False
    return ((a ^ b) & (2**64 - 1)).bit_count() <= ALIKE_BITS
