"""Keyed permutations: where position i goes, without an array of all positions.

A balanced Feistel network over the smallest domain 4^k that holds n, with cycle-walking back into
[0, n): Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains", section "Generalized-Feistel"
and "Cycle-Walking". The round function is SplitMix64's finaliser (Steele, Lea & Flood 2014, "Fast
Splittable Pseudorandom Number Generators"). It shuffles well; it is no cryptography.
"""

import numpy as np

ROUNDS = 6
_PLACE_KEY = np.uint64(0x5851F42D4C957F2D)  # an odd constant, Knuth's multiplier: any will do


def mix64(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of uint64, elementwise."""
    z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def permute(index: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """The image of each index under the permutation of range(n) that its key selects.

    Args:
        index: int64 [M], each in [0, n).
        n: size of the permuted range, at least 1.
        keys: uint64 [M]; equal keys select the same permutation.

    Returns:
        int64 [M], each in [0, n); for one key, different indices have different images.
    """
    half = max(1, ((max(n - 1, 1)).bit_length() + 1) // 2)
    image = _feistel(index.astype(np.uint64), half, keys)
    outside = image >= n
    while outside.any():
        image[outside] = _feistel(image[outside], half, keys[outside])
        outside = image >= n
    return image.astype(np.int64)


def permute_blocks(index: np.ndarray, n: int, block: int, keys: np.ndarray) -> np.ndarray:
    """As `permute`, but neighbours stay near: blocks of `block` are permuted, and each in itself.

    For storage where a random read costs more than a long one. Where n is no multiple of `block`,
    the short block at the end goes among the others at a place that the key draws.

    Args:
        index, n, keys: as for `permute`.
        block: at least 1, which is `permute` itself; n or more permutes one block.
    """
    if block == 1 or block >= n:
        return permute(index, n, keys)
    full, rest = divmod(n, block)
    place = mix64(keys ^ _PLACE_KEY) % np.uint64(full + 1) if rest else np.full_like(keys, full)
    start = place.astype(np.int64) * block  # where the short block begins
    is_short = (index >= start) & (index < start + rest)
    shifted = np.where(index >= start + rest, index - rest, index)
    number, inside = np.divmod(np.where(is_short, 0, shifted), block)
    number = permute(number, full, keys)
    inner_keys = mix64(keys ^ mix64(number.astype(np.uint64) + np.uint64(1)))
    image = number * block + permute(inside, block, inner_keys)
    if is_short.any():
        tail_keys = mix64(keys[is_short] ^ mix64(np.zeros(1, np.uint64)))
        tail = permute(index[is_short] - start[is_short], rest, tail_keys)
        image[is_short] = full * block + tail
    return image


def _feistel(values: np.ndarray, half: int, keys: np.ndarray) -> np.ndarray:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for number in range(ROUNDS):
        round_key = mix64(keys + np.uint64(number))
        left, right = right, left ^ (mix64(right ^ round_key) & mask)
    return (left << shift) | right
