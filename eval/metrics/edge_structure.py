"""Edge-structure similarity to the content: are the edges still where they were?"""

from eval.metrics.api import Metric
from toolkit.measures.edges import SIGMAS_PX, two_scale_edge_similarity


def open_metric() -> Metric:
    """Needs no weights."""
    return Metric(
        "edge_structure", "higher", "content", "Gaussian gradient magnitude of luma",
        two_scale_edge_similarity, {"sigmas_px": list(SIGMAS_PX)},
    )  # fmt: skip
