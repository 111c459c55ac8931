"""Structure distance to the content: are parts alike and unlike each other as they were?

Tumanyan et al. 2022 (arXiv 2201.00424), Eq. 4: the mean squared difference of the self-similarities
of DINO's keys. Other reports multiply by 1000.
"""

import numpy as np

from eval.features.api import Features
from eval.metrics.api import Metric, Tools


def self_similarity(keys: np.ndarray) -> np.ndarray:
    """Cosines of all rows of keys [N,D] with each other: [N,N]."""
    norms = np.linalg.norm(keys, axis=1, keepdims=True)
    return (keys @ keys.T) / np.maximum(norms @ norms.T, 1e-8)


def score(output: Features, content: Features) -> float:
    """From 0, at most 4; 0 for equal structure, and symmetric."""
    apart = self_similarity(output[0]) - self_similarity(content[0])
    return float(np.square(apart).mean(dtype=np.float64))


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    return Metric(
        "dino_structure", "lower", "content", tools.extractors["dino_keys"], score,
        "mean squared difference of self-similarities, 0 to 4", best=0.0,
    )  # fmt: skip
