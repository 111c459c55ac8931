"""An evaluation, from opened metrics to results: the pass, its sentinels, sets, statistics."""

import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from eval.feature_store import FeatureStore
from eval.features.api import Extractor, MissingWeights
from eval.looking import Looker
from eval.metrics import metric_names, open_metric
from eval.metrics.api import Metric, MetricResult, SetMetric, Tools
from eval.roster import Roster
from eval.scoring import Scored, Scorer
from eval.sentinels import Sentinels, sentinels
from eval.set_scores import set_result
from eval.summary import by_style, plain, results_of
from eval.under_stylised import UnderStylised, under_stylised
from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.store.layout import Layout


@dataclass
class Opened:
    """Metrics that can run here, and those that cannot, by name. look: what finds pictures that are
    not stylised enough."""

    look: Extractor
    metrics: list[Metric] = field(default_factory=list)
    sets: list[SetMetric] = field(default_factory=list)
    missing: dict[str, MissingWeights] = field(default_factory=dict)


def open_metrics(names: tuple[str, ...] | None, tools: Tools) -> Opened:
    """Metrics by name, all where None. Raises UserError for an unknown one, or where weights are
    missing of the only ones that were asked for."""
    known, opened = metric_names(), Opened(tools.extractors["look"])
    for name in names or ():
        if name not in known:
            raise UserError(
                f"unknown metric {name!r}: known are {', '.join(known)}{or_nearest(name, known)}"
            )
    for name in names or known:
        try:
            found = open_metric(name, tools)
        except MissingWeights as error:
            opened.missing[name] = error
            continue
        if isinstance(found, SetMetric):
            opened.sets.append(found)
        else:
            opened.metrics.append(found)
    if not opened.metrics and not opened.sets:
        raise UserError("; ".join(map(str, opened.missing.values())))
    return opened


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found. results: of all metrics, in the order of their names."""

    scored: Scored
    sentinels: Sentinels
    under_stylised: UnderStylised
    results: list[MetricResult]

    def as_json(self) -> dict[str, Any]:
        """For the summary."""
        found: dict[str, Any] = plain({
            "metrics": [asdict(result) for result in self.results],
            "styles": by_style(self.scored),
            "sentinels": {
                "pictures": self.sentinels.pictures, "broken": self.sentinels.broken,
                "nearer": self.sentinels.nearer,
            },
            "nearer_own_style": self.sentinels.nearer.get("colour_distance"),
            "under_stylised": asdict(self.under_stylised), "versions": _versions(),
        })  # fmt: skip
        return found


def evaluate(
    layout: Layout,
    roster: Roster,
    store: FeatureStore,
    opened: Opened,
    count: int,
    steps: Callable[..., Iterable[Any]],
) -> Evaluation:
    """Scores the first `count` pictures of a roster. steps: goes around the results of single
    pictures, to show and to watch them."""
    looker = Looker(layout, store)
    scorer = Scorer(looker, opened.metrics, opened.sets)
    scored = scorer.score_all(roster, count, steps)
    looked = sentinels(scorer, roster, scored)
    results = results_of(opened.metrics, scored, looked)
    means = {result.name: result.value for result in results if result.value is not None}
    results += [set_result(metric, looker, roster, count, means) for metric in opened.sets]
    order = metric_names()
    results.sort(key=lambda result: order.index(result.name))
    plain_ones = under_stylised(roster, looker, opened.look, count)
    return Evaluation(scored, looked, plain_ones, results)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("torch", "torchvision", "transformers", "lpips", "torch-fidelity", "piq", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
