"""Colour histogram similarity to the style: does the picture use the reference's colours?"""

import numpy as np

from eval.metrics.api import Metric
from toolkit.measures.histograms import BINS_PER_CHANNEL, colour_histogram, histogram_affinity


def score(output: np.ndarray, style: np.ndarray) -> float:
    """Bhattacharyya coefficient of the joint RGB histograms, in [0,1]; 1 for equal ones."""
    return histogram_affinity(colour_histogram(output), colour_histogram(style))


def open_metric() -> Metric:
    """Needs no weights."""
    return Metric(
        "colour_histogram", "higher", "style", "joint RGB histogram", score,
        {"bins": BINS_PER_CHANNEL**3},
    )  # fmt: skip
