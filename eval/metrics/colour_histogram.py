"""Colour histogram similarity to the style: does the picture use the reference's colours?"""

from eval.features.api import Features
from eval.metrics.api import Metric, Tools
from toolkit.measures.histograms import BINS_PER_CHANNEL, colour_histogram, histogram_affinity


def score(output: Features, style: Features) -> float:
    """Bhattacharyya coefficient of the joint RGB histograms, in [0,1]; 1 for equal ones."""
    return histogram_affinity(colour_histogram(output[0]), colour_histogram(style[0]))


def open_metric(tools: Tools) -> Metric:
    """Needs no weights."""
    return Metric(
        "colour_histogram", "higher", "style", tools.extractors["pixels"], score,
        "overlap of joint RGB histograms, 0 to 1", best=1.0, settings={"bins": BINS_PER_CHANNEL**3},
    )  # fmt: skip
