"""Honest intervals for scores on a content × style grid.

Pictures that share a content or a style are alike, so they must not be resampled one by one: a
plain bootstrap is far too narrow. The pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap",
Ann. Appl. Stat. 1) resamples contents and styles, and weighs each picture by both counts.
"""

from collections.abc import Sequence

import numpy as np

from toolkit.core.keyed import key64

NUM_RESAMPLES = 2000
_AT_ONCE = 100  # resamples, so that ten thousand pictures take some megabytes


def pigeonhole_interval(
    values: np.ndarray, contents: Sequence[str], styles: Sequence[str], level: float = 0.95
) -> tuple[float, float]:
    """A bootstrap interval of the mean of `values`, float [N].

    Args:
        values: one score per picture.
        contents, styles: the cluster each picture belongs to on either side; N names each.
        level: coverage.

    Returns:
        (low, high); both the mean when there is one cluster on each side.
    """
    rng = np.random.Generator(np.random.Philox(key=key64("pigeonhole", len(values))))
    content, style = (np.unique(np.asarray(c), return_inverse=True)[1] for c in (contents, styles))
    means = []
    for _ in range(0, NUM_RESAMPLES, _AT_ONCE):
        weights = _counts(rng, content)[:, content] * _counts(rng, style)[:, style]
        totals = weights.sum(1)
        means.append(weights[totals > 0] @ values / totals[totals > 0])
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _counts(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """int64 [_AT_ONCE, clusters]: how often each cluster is drawn, by resample."""
    size = int(labels.max()) + 1
    drawn = rng.integers(0, size, (_AT_ONCE, size)) + size * np.arange(_AT_ONCE)[:, None]
    return np.bincount(drawn.ravel(), minlength=_AT_ONCE * size).reshape(_AT_ONCE, size)


def shuffled(styles: Sequence[str]) -> np.ndarray:
    """For each picture the index of another picture with another style, a fixed choice.

    Where all styles are equal there is none, and the picture itself is returned.
    """
    names = np.asarray(styles)
    count = len(names)
    chosen = np.arange(count)
    for i in range(count):
        others = np.flatnonzero(names != names[i])
        if len(others):
            chosen[i] = others[key64("shuffle", i, count) % len(others)]
    return chosen
