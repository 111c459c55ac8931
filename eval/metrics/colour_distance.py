"""Distance of colour statistics to the style, after Reinhard et al. 2001."""

import numpy as np

from eval.metrics.api import Metric
from toolkit.measures.histograms import colour_statistics


def score(output: np.ndarray, style: np.ndarray) -> float:
    """Euclidean distance of the channels' means and deviations, values in [-1,1]; 0 for equal."""
    return float(np.linalg.norm(colour_statistics(output) - colour_statistics(style)))


def open_metric() -> Metric:
    """Needs no weights."""
    return Metric("colour_distance", "lower", "style", "RGB means and deviations", score)
