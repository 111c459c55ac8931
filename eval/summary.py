"""From scores to what a report says: means with intervals, by style too."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.metrics.api import Metric, MetricResult
from eval.scoring import Scored
from eval.sentinels import Sentinels
from eval.statistics import interval_of, resampled_means


def results_of(
    metrics: list[Metric], scored: Scored, sentinel: Sentinels
) -> list[MetricResult]:  # fmt: skip
    """The mean of each metric, with an interval over contents and styles."""
    if not metrics:
        return []
    means = resampled_means(scored.values, scored.clusters["content"], scored.clusters["style"])
    found = []
    for column, metric in enumerate(metrics):
        own = scored.values[:, column]
        there = int((~np.isnan(own)).sum())
        low, high = interval_of(means[:, column]) if there else (None, None)
        found.append(
            MetricResult(
                metric.name, "picture", float(np.nanmean(own)) if there else None, low, high, there,
                metric.better, metric.reference, metric.unit, metric.extractor.identity,
                metric.fingerprint, metric.settings, sentinel.means[metric.name],
                dict(scored.left_out[metric.name]), beside=metric.beside,
            )
        )  # fmt: skip
    return found


def by_style(scored: Scored) -> dict[str, dict[str, Any]]:
    """For each style the number of pictures, and by metric the mean and its interval over contents;
    none for metrics without a score."""
    found: dict[str, dict[str, Any]] = {}
    for code, name in enumerate(scored.label_names):
        rows = scored.labels == code
        values, contents = scored.values[rows], scored.clusters["content"][rows]
        styles = scored.clusters["style"][rows]
        means = resampled_means(values, contents, styles)
        metrics: dict[str, Any] = {}
        for column, metric in enumerate(scored.names):
            if not np.isnan(values[:, column]).all():
                low, high = interval_of(means[:, column])
                metrics[metric] = {
                    "value": float(np.nanmean(values[:, column])), "low": low, "high": high,
                }  # fmt: skip
        found[name] = {"pictures": int(rows.sum()), "metrics": metrics}
    return dict(sorted(found.items()))


def plain(value: Any) -> Any:
    """For JSON: without numbers that it does not know."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, np.generic):
        return plain(value.item())
    return value
