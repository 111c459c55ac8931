"""Distance of colour statistics to the style, after Reinhard et al. 2001."""

import numpy as np

from eval.features.api import Features
from eval.metrics.api import Metric, Tools
from toolkit.measures.histograms import colour_statistics


def score(output: Features, style: Features) -> float:
    """Euclidean distance of the channels' means and deviations, values in [-1,1]; 0 for equal."""
    return float(np.linalg.norm(colour_statistics(output[0]) - colour_statistics(style[0])))


def open_metric(tools: Tools) -> Metric:
    """Needs no weights."""
    return Metric(
        "colour_distance", "lower", "style", tools.extractors["pixels"], score,
        "distance of RGB means and deviations, from 0", best=0.0,
    )  # fmt: skip
