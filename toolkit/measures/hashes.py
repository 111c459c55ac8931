"""Perceptual hash of a picture, as a signed 64-bit number that SQL can compare.

`bit_count(xor(a.phash, b.phash))` in DuckDB is the Hamming distance of two hashes.
"""

import numpy as np

VARIANT = "imagehash.phash 8×8 of a reduced grey decode (JPEG: DCT-scaled; else box) of ≥ 64 px"


def perceptual_hash(grey: np.ndarray) -> int | None:
    """imagehash's DCT hash of uint8 [h,w], its 64 bits read as a signed integer.

    None for a picture of one single grey: its hash would be rounding noise.
    """
    if grey.min() == grey.max():
        return None
    import imagehash
    from PIL import Image

    bits = imagehash.phash(Image.fromarray(grey)).hash.flatten()
    value = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return value - (1 << 64) if value >= 1 << 63 else value
