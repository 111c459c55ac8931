"""KID: the squared maximum mean discrepancy of Inception's features, without bias.

Bińkowski et al. 2018 (arXiv 1801.01401). Pictures and references are compared in blocks that have
nothing in common, whose mean is the value, unbiased as well, and whose spread gives the interval;
features of two blocks are all that memory holds. Sets of up to a thousand are one block. A side
that is too small to be parted so often is compared with each block as a whole; there is no interval
then, for its own chance is in all of them.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise, repeat

import numpy as np

from eval.kernel_distance import kernel_distance
from eval.metrics.api import FeatureSet, SetMetric, SetScore, Tools

BLOCK = 1000
_FEW_BLOCKS = 5
_LEAST = 20  # of the smaller side in a block: what is not compared is thrown away


def distance(outputs: FeatureSet, references: FeatureSet, _: Mapping[str, float]) -> SetScore:
    """Around 0 for sets of one distribution, where it may be negative."""
    m, n = outputs.count, references.count
    if min(m, n) < 2:
        return SetScore(None, notes=(f"{m} pictures and {n} references are too few",))
    blocks = max(1, -(-max(m, n) // BLOCK))
    is_parted = blocks == 1 or min(m, n) >= _LEAST * blocks
    sides = (
        _parts(side, blocks) if is_parted or side.count == max(m, n) else _again(side, blocks)
        for side in (outputs, references)
    )
    found = np.array([kernel_distance(a, b) for a, b in zip(*sides, strict=True)])
    value = float(found.mean())
    if not is_parted:
        note = f"{min(m, n)} beside {max(m, n)}: no interval"
        return SetScore(value, expected=0.0, notes=(note,))
    if blocks < _FEW_BLOCKS:
        return SetScore(value, expected=0.0, notes=(f"{blocks} blocks: too few for an interval",))
    error = float(found.std(ddof=1) / blocks**0.5)
    return SetScore(value, value - 1.96 * error, value + 1.96 * error, expected=0.0)


def _parts(features: FeatureSet, count: int) -> Iterator[np.ndarray]:
    """`count` parts of nearly equal size."""
    ends = [features.count * i // count for i in range(count + 1)]
    for start, stop in pairwise(ends):
        yield features.slice(start, stop)


def _again(features: FeatureSet, count: int) -> Iterator[np.ndarray]:
    """All of them, `count` times."""
    return repeat(features.slice(0, features.count), count)


def open_metric(tools: Tools) -> SetMetric:
    """Raises MissingWeights."""
    return SetMetric(
        "kid", "lower", "style", tools.extractors["inception"], distance,
        "squared discrepancy, around 0 for equal sets", settings={"block": BLOCK},
    )  # fmt: skip
