"""Metrics, one file each: `eval/metrics/<name>.py` exports `open_metric(tools)`, which gives a
`Metric` of single pictures or a `SetMetric`, see `eval/metrics/api.py`."""

import importlib
import pkgutil

from eval.metrics.api import Metric, SetMetric, Tools

_NOT_METRICS = frozenset({"api"})


def metric_names() -> list[str]:
    """Names of the metrics, found by file name."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_METRICS)


def open_metric(name: str, tools: Tools) -> Metric | SetMetric:
    """A metric ready to score. Raises `MissingWeights` when it cannot run here."""
    metric: Metric | SetMetric = importlib.import_module(f"{__name__}.{name}").open_metric(tools)
    return metric
