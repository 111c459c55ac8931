"""Edge-structure similarity to the content: are the edges still where they were?"""

from eval.features.api import Features
from eval.metrics.api import Metric, Tools
from toolkit.measures.edges import SIGMAS_PX, two_scale_edge_similarity


def score(output: Features, content: Features) -> float:
    """Correlation of gradient magnitudes, mean of two scales, in [-1,1]; 1 for equal ones."""
    return two_scale_edge_similarity(output[0], content[0])


def open_metric(tools: Tools) -> Metric:
    """Needs no weights."""
    return Metric(
        "edge_structure", "higher", "content", tools.extractors["pixels"], score,
        "correlation of edges, -1 to 1", best=1.0, settings={"sigmas_px": list(SIGMAS_PX)},
    )  # fmt: skip
