"""Ten numbers of colours and of scales, see `toolkit/measures/stylization.py`."""

import numpy as np

from eval.features.api import Extractor, Features
from toolkit.measures.stylization import SIDE_PX, SIGMAS_PX, look_of


def open_extractor(weights: str | None, device: str) -> Extractor:
    """Needs no weights."""
    identity = {"extractor": "look", "sigmas_px": list(SIGMAS_PX), "side_px": SIDE_PX}
    return Extractor(identity, kept=True, picture=_look)


def _look(pixels: np.ndarray) -> Features:
    return (look_of(pixels).astype(np.float32),)
