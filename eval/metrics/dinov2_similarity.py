"""DINOv2 similarity to the content: the cosine of class tokens (Oquab et al. 2023)."""

from eval.metrics.api import Metric, Tools
from eval.metrics.dino_similarity import cosine


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    return Metric(
        "dinov2_similarity", "higher", "content", tools.extractors["dinov2"], cosine,
        "cosine, -1 to 1", best=1.0,
    )  # fmt: skip
