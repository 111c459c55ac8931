"""KID: the squared maximum mean discrepancy of Inception's features, without bias.

Bińkowski et al. 2018 (arXiv 1801.01401). Pictures and references are compared in blocks that have
nothing in common, whose mean is the value, unbiased as well, and whose spread gives the interval;
features of two blocks are all that memory holds. Sets of up to a thousand are one block.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from eval.kernel_distance import kernel_distance
from eval.metrics.api import FeatureSet, SetMetric, SetScore, Tools

BLOCK = 1000
_FEW_BLOCKS = 5


def distance(outputs: FeatureSet, references: FeatureSet, _: Mapping[str, float]) -> SetScore:
    """Around 0 for sets of one distribution, where it may be negative."""
    m, n = outputs.count, references.count
    if min(m, n) < 2:
        return SetScore(None, notes=(f"{m} pictures and {n} references are too few",))
    blocks = max(1, -(-max(m, n) // BLOCK))
    while blocks > 1 and min(m, n) < 2 * blocks:
        blocks -= 1  # the smaller side needs two in each
    pairs = zip(_parts(outputs, blocks), _parts(references, blocks), strict=True)
    found = np.array([kernel_distance(a, b) for a, b in pairs])
    value = float(found.mean())
    if blocks < _FEW_BLOCKS:
        return SetScore(value, expected=0.0, notes=(f"{blocks} blocks: too few for an interval",))
    error = float(found.std(ddof=1) / blocks**0.5)
    return SetScore(value, value - 1.96 * error, value + 1.96 * error, expected=0.0)


def _parts(features: FeatureSet, count: int) -> Iterator[np.ndarray]:
    """`count` parts of nearly equal size."""
    ends = [features.count * i // count for i in range(count + 1)]
    for start, stop in pairwise(ends):
        yield features.slice(start, stop)


def open_metric(tools: Tools) -> SetMetric:
    """Raises MissingWeights."""
    return SetMetric(
        "kid", "lower", "style", tools.extractors["inception"], distance,
        "squared discrepancy, around 0 for equal sets", settings={"block": BLOCK},
    )  # fmt: skip
