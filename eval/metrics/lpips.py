"""LPIPS to the content over AlexNet: perceptual distance, as it is usually reported.

Zhang et al. 2018 (arXiv 1801.03924), version 0.1; the network is `eval/features/lpips_network.py`.
"""

import numpy as np

from eval.features.api import Extractor, Features
from eval.metrics.api import Metric, Tools


def score(output: Features, content: Features) -> float:
    """Squared distance of weighted features, from 0; 0 for equal pictures, and symmetric."""
    pairs = zip(output, content, strict=True)
    return float(sum(np.square(a - b).sum(dtype=np.float64) for a, b in pairs))


def lpips_to_content(name: str, extractor: Extractor) -> Metric:
    """The metric over one of the three trunks."""
    return Metric(name, "lower", "content", extractor, score, "perceptual distance, from 0", 0.0)


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights without the trunk."""
    return lpips_to_content("lpips", tools.extractors["lpips_alex"])
