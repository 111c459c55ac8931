"""CLIPScore: does the picture show what its caption says?

Hessel et al. 2021 (arXiv 2104.08718), Eq. 1: 2.5 times the cosine of CLIP's embeddings, at least 0,
with the caption after "A photo depicts ", of each picture by itself.
"""

from eval.features.api import Features
from eval.metrics.api import Metric, Tools
from eval.metrics.dino_similarity import cosine

WEIGHT = 2.5
PREFIX = "A photo depicts "


def score(output: Features, text: Features) -> float:
    """From 0 to 2.5."""
    return WEIGHT * max(0.0, cosine(output, text))


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    return Metric(
        "clip_score", "higher", "caption", tools.extractors["clip"], score,
        "2.5 · cosine, 0 to 2.5", settings={"prefix": PREFIX, "weight": WEIGHT}, prefix=PREFIX,
    )  # fmt: skip
