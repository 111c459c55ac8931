"""CSD: the cosine of style descriptors of the picture and its style reference.

Somepalli et al. 2024 (arXiv 2404.01292). The number by itself says little: real paintings of one
artist lie anywhere between 0 and 1. It is to be read beside its baselines, the cosine with another
style's reference and that of two references of one style.
"""

from eval.metrics.api import Metric, Tools
from eval.metrics.dino_similarity import cosine


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    return Metric(
        "csd", "higher", "style", tools.extractors["csd"], cosine, "cosine, -1 to 1", best=1.0
    )
