"""Generated pictures that are copies of training pictures, which scores by references reward."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics.dino_similarity import cosine
from toolkit.measures.edges import luma
from toolkit.measures.hashes import perceptual_hash
from toolkit.store.images import decode_rgb
from toolkit.store.near import SAME_BITS

ALIKE = 0.95  # cosine of DINOv2's embeddings


@dataclass(frozen=True)
class Nearest:
    """The training picture that a generated one is most like. cosine: of DINOv2's embeddings; bits:
    in which their perceptual hashes differ, 64 where one has none."""

    picture: str
    training: str
    cosine: float
    bits: int

    @property
    def is_copy(self) -> bool:
        """By either measure."""
        return self.cosine >= ALIKE or self.bits <= SAME_BITS


def nearest(generated: Sequence[Path], training: Sequence[Path], judge: Any) -> list[Nearest]:
    """For each generated picture, by the cosine; bits are the fewest to any training picture."""
    known = [(path, judge.features(path, judge.dino), _hash(path)) for path in training]
    found = []
    for path in generated:
        own, mark = judge.features(path, judge.dino), _hash(path)
        likes = [(cosine(own, features), other) for other, features, _ in known]
        like, other = max(likes, key=lambda pair: pair[0])
        bits = min(_apart(mark, theirs) for *_, theirs in known)
        found.append(Nearest(path.name, other.name, like, bits))
    return found


def _hash(path: Path) -> int | None:
    pixels = decode_rgb(path.read_bytes())
    return perceptual_hash(luma(pixels).round().astype(np.uint8))


def _apart(a: int | None, b: int | None) -> int:
    return 64 if a is None or b is None else ((a ^ b) & (2**64 - 1)).bit_count()
