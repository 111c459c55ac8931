"""Keyed random numbers: every draw is a pure function of what it is for.

There is no global generator anywhere: a draw is keyed by (seed, purpose, position …), hence
independent of the number of workers, of ranks and of what was drawn before.
"""

import hashlib


def key64(*parts: int | str) -> int:
    """A 64-bit key in [0, 2**64) from integers and texts; equal parts give equal keys.

    BLAKE2b over a prefix-free encoding, so ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = f"{type(part).__name__}:{part}".encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return int.from_bytes(digest.digest(), "little")


def key63(*parts: int | str) -> int:
    """`key64` without its top bit: fits a signed 64-bit integer, as torch's seeds are."""
    return key64(*parts) >> 1
