"""CFSD, the content feature structural distance: are patches alike as they were?

Chung et al. 2024, "Style Injection in Diffusion" (arXiv 2312.09008), section 4.2: the
Kullback-Leibler divergence of the output's patch similarities from the content's. Each patch's
similarities to all patches, dot products of relu3_1 of VGG-19 that are divided by the channels
(once on either side), go through a softmax. The divergences of all patches are added, as the
authors' program does; their paper writes a mean.
"""

import numpy as np

from eval.features.api import Features
from eval.metrics.api import Metric, Tools

_AT_ONCE = 512  # rows of the matrix of similarities


def score(output: Features, content: Features) -> float:
    """KL(content ‖ output), from 0; 0 for equal similarities, and not symmetric."""
    own, other = _patches(output[-1]), _patches(content[-1])
    total = 0.0
    for start in range(0, len(own), _AT_ONCE):
        of_output = _log_softmax(own[start : start + _AT_ONCE] @ own.T)
        of_content = _log_softmax(other[start : start + _AT_ONCE] @ other.T)
        total += float((np.exp(of_content) * (of_content - of_output)).sum())
    return total


def _patches(features: np.ndarray) -> np.ndarray:
    """[C,H,W] as float64 [H·W,C], divided by the channels."""
    return features.reshape(len(features), -1).T.astype(np.float64) / len(features)


def _log_softmax(values: np.ndarray) -> np.ndarray:
    values = values - values.max(axis=1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def open_metric(tools: Tools) -> Metric:
    """Raises MissingWeights."""
    return Metric(
        "cfsd", "lower", "content", tools.extractors["vgg19"], score,
        "divergence, from 0", best=0.0,
    )  # fmt: skip
