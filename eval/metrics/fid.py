"""FID: the Fréchet distance of Inception's features of the pictures and of the style references.

Heusel et al. 2017 (arXiv 1706.08500). Of few pictures it is mostly bias: it stands beside what two
samples of these sizes of one distribution would give (`eval/small_samples.py`), and has no
interval, since resampled pictures add bias of their own. KID has neither trouble.
"""

from collections.abc import Mapping

import numpy as np

from eval.frechet import frechet_distance
from eval.metrics.api import FeatureSet, SetMetric, SetScore, Tools
from eval.small_samples import distance_of_samples, expected_distance, variances

LEAST = 2


def distance(outputs: FeatureSet, references: FeatureSet, _: Mapping[str, float]) -> SetScore:
    """From 0."""
    m, n, dim = outputs.count, references.count, outputs.dim
    if min(m, n) < LEAST:
        return SetScore(None, notes=(f"{m} pictures and {n} references have no covariance",))
    if m + n < 2 * dim:
        first, second = (s.slice(0, s.count).astype(np.float64) for s in (outputs, references))
        value, spread = distance_of_samples(first, second), variances(second)
    else:
        moments = references.moments()
        value = frechet_distance(outputs.moments(), moments)
        spread = np.linalg.eigvalsh(moments.covariance).clip(0)
    expected = expected_distance(spread, m, n)
    notes: tuple[str, ...] = ()
    if min(m, n) < 2 * dim:
        notes = (
            f"{m} pictures and {n} references are few for {dim} features: two samples of one "
            f"distribution would give {expected:.1f}; look at kid",
        )
    return SetScore(value, expected=expected, notes=notes)


def open_metric(tools: Tools) -> SetMetric:
    """Raises MissingWeights."""
    return SetMetric(
        "fid", "lower", "style", tools.extractors["inception"], distance, "squared distance, from 0"
    )
