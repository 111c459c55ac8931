"""Which pictures are looked at together: only where that changes no bit.

A small transformer takes less time for eight pictures than for eight times one. Whether it then
gives the same bits depends on the machine and its libraries, so it is tried first, once for each
extractor; where it does not, pictures are looked at one by one.
"""

import threading

import numpy as np

from eval.features.api import Extractor

TOGETHER = 8
_SIDE_PX = 64


class Together:
    """Which extractors give for several pictures what they give for each. Safe to use from several
    threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, bool] = {}

    def allowed(self, extractor: Extractor) -> bool:
        """Tries it when it is first asked, on this thread."""
        if extractor.several is None:
            return False
        with self._lock:
            name = extractor.fingerprint
            if name not in self._known:
                self._known[name] = gives_the_same(extractor)
            return self._known[name]


def gives_the_same(extractor: Extractor) -> bool:
    """Whether two pictures, each at every second place, are seen as each is alone, to the bit."""
    assert extractor.several is not None
    rng = np.random.default_rng(0)
    two = [rng.integers(0, 256, (_SIDE_PX, _SIDE_PX, 3), dtype=np.uint8) for _ in range(2)]
    alone = [extractor.look(pixels) for pixels in two]
    found = extractor.several([two[place % 2] for place in range(TOGETHER)])
    return all(
        np.array_equal(a, b)
        for place, parts in enumerate(found)
        for a, b in zip(parts, alone[place % 2], strict=True)
    )
