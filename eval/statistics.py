"""Honest intervals for scores on a content × style grid.

Pictures that share a content or a style are alike, so they must not be resampled one by one: a
plain bootstrap is far too narrow. The pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap",
Ann. Appl. Stat. 1) resamples contents and styles, and weighs each picture by both counts.
"""

from collections.abc import Sequence

import numpy as np

from toolkit.core.keyed import key64

NUM_RESAMPLES = 2000
_MOST_WEIGHTS = 1_000_000  # that are held at once, eight megabytes


def resampled_means(
    values: np.ndarray, contents: Sequence[str] | np.ndarray, styles: Sequence[str] | np.ndarray
) -> np.ndarray:
    """Means of `values` in resamples of contents and styles: float64 [R,M], NaN where a resample
    has no value.

    Args:
        values: float [N,M]; NaN where a picture has no score.
        contents, styles: the cluster each picture belongs to on either side; N each.
    """
    count = len(values)
    sides = [np.unique(np.asarray(c), return_inverse=True)[1] for c in (contents, styles)]
    drawn = [
        np.random.Generator(np.random.Philox(key=key64("pigeonhole", side, count)))
        for side in ("content", "style")
    ]
    there = ~np.isnan(values)
    filled, mask = np.where(there, values, 0.0), there.astype(np.float64)
    at_once = max(1, min(100, _MOST_WEIGHTS // max(1, count)))
    means = []
    for start in range(0, NUM_RESAMPLES, at_once):
        size = min(at_once, NUM_RESAMPLES - start)
        weights = np.ones((size, count))
        for rng, clusters in zip(drawn, sides, strict=True):
            weights *= _counts(rng, size, int(clusters.max()) + 1)[:, clusters]
        with np.errstate(invalid="ignore"):
            means.append((weights @ filled) / (weights @ mask))
    return np.concatenate(means)


def pigeonhole_interval(
    values: np.ndarray,
    contents: Sequence[str] | np.ndarray,
    styles: Sequence[str] | np.ndarray,
    level: float = 0.95,
) -> tuple[float, float]:
    """A bootstrap interval of the mean of `values`, float [N].

    Args:
        values: one score per picture; NaN where there is none.
        contents, styles: the cluster each picture belongs to on either side; N names each.
        level: coverage.

    Returns:
        (low, high); both the mean when there is one cluster on each side.
    """
    return interval_of(resampled_means(values[:, None], contents, styles)[:, 0], level)


def interval_of(means: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The middle of resampled means [R], without those that are NaN; NaN where all are."""
    kept = means[~np.isnan(means)]
    if not len(kept):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)


def _counts(rng: np.random.Generator, resamples: int, clusters: int) -> np.ndarray:
    """int64 [resamples,clusters]: how often each cluster is drawn."""
    drawn = rng.integers(0, clusters, (resamples, clusters))
    drawn += clusters * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * clusters)
    return counts.reshape(resamples, clusters)


def p_value(means: np.ndarray) -> float:
    """How likely resampled differences [R] lie on both sides of 0 as they do, if there is none:
    twice the share on the smaller side, at least 2/(R + 1)."""
    kept = means[~np.isnan(means)]
    smaller = min((kept <= 0).sum(), (kept >= 0).sum())
    return float(min(1.0, 2 * (smaller + 1) / (len(kept) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm 1979): the k-th smallest of n times n − k + 1,
    never below a smaller one's, at most 1; in the order given."""
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def shuffled(styles: Sequence[str] | np.ndarray) -> np.ndarray:
    """For each picture the index of another picture with another style, a fixed choice.

    Where all styles are equal there is none, and the picture itself is returned.
    """
    codes = np.unique(np.asarray(styles), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")  # pictures of one style stand together
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 2))
    chosen = np.arange(len(codes))
    for index, code in enumerate(codes):
        first, stop = starts[code], starts[code + 1]
        others = int(len(codes) - (stop - first))
        if others:
            drawn = key64("shuffle", index, len(codes)) % others
            chosen[index] = order[drawn if drawn < first else drawn + stop - first]
    return chosen
