"""DINO similarity to the content: is it still the same thing?

The cosine of class tokens, as DINO-I of DreamBooth (Ruiz et al. 2023, section 4) has it.
"""

import numpy as np

from eval.features.api import Features
from eval.metrics.api import Metric, Tools


def cosine(output: Features, reference: Features) -> float:
    """Of two vectors, in [-1,1]; 1 for equal directions, and symmetric. 0 where one is zero."""
    a, b = output[0].astype(np.float64), reference[0].astype(np.float64)
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norm) if norm > 0 else 0.0


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    return Metric(
        "dino_similarity", "higher", "content", tools.extractors["dino"], cosine,
        "cosine, -1 to 1", best=1.0,
    )  # fmt: skip
