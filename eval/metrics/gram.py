"""Gram distance to the style: are the textures those of the reference?

Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks", Eqs. 3 to 5, with the
normalisation of Johnson et al. 2016: the mean squared difference of Gram matrices, averaged over
five layers of VGG-19.
"""

import numpy as np

from eval.features.api import Features
from eval.metrics.api import Metric, Tools


def score(output: Features, style: Features) -> float:
    """From 0; 0 for equal textures, and symmetric."""
    pairs = list(zip(output[:-1], style[:-1], strict=True))
    return float(np.mean([np.square(a - b).mean(dtype=np.float64) for a, b in pairs]))


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    return Metric(
        "gram", "lower", "style", tools.extractors["vgg19"], score,
        "mean squared difference of Gram matrices, from 0", best=0.0,
    )  # fmt: skip
