"""Pictures that are nearly the same, by their perceptual hashes, found in SQL.

Hashes within D bits of each other agree in at least one of D + 1 bands of bits (pigeonhole), so a
join over bands finds all such pairs without comparing each with each.
"""

from typing import Any

SAME_BITS = 4
"""At most so many bits apart, two pictures are copies of each other."""
ALIKE_BITS = 8
"""At most so many bits apart, a content and a style are too much alike to be a pair."""


def near_hashes(left: str, right: str, bits: int) -> str:
    """SQL for the distinct hashes of `left` that are within `bits` of one of `right`.

    Args:
        left, right: SQL of tables with a BIGINT column `phash`, nulls included.
        bits: greatest Hamming distance, 0..31.
    """
    width = 64 // (bits + 1)

    def bands(table: str) -> str:
        return (
            f"SELECT phash, band, (phash >> (band * {width})) & {(1 << width) - 1} AS part "
            f"FROM (SELECT DISTINCT phash FROM ({table}) WHERE phash IS NOT NULL), "
            f"range({bits + 1}) AS bands(band)"
        )

    return (
        f"SELECT DISTINCT l.phash FROM ({bands(left)}) AS l JOIN ({bands(right)}) AS r "
        f"ON l.band = r.band AND l.part = r.part WHERE bit_count(xor(l.phash, r.phash)) <= {bits}"
    )


def are_alike(a: Any, b: Any) -> bool:
    """Whether two hashes are within `ALIKE_BITS`; False where one is missing."""
    if a is None or b is None:
        return False
    return ((a ^ b) & (2**64 - 1)).bit_count() <= ALIKE_BITS
