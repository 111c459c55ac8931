"""One pass over generated pictures: every metric of every picture, and what the set metrics need.

Memory holds the scores, eight bytes each, and the few pictures that are being looked at.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from eval.features.api import CannotLook, Extractor
from eval.looking import Looker, View, by_threads
from eval.metrics.api import Metric, SetMetric
from eval.roster import Item, Roster
from eval.together import TOGETHER


@dataclass(frozen=True)
class Scored:
    """What was scored. names: of the metrics; values: float64 [N,M], NaN where there is none;
    clusters: int32 [N] by role, which pictures share a content or a style; labels: int32 [N], each
    picture's style, whose names are `label_names`, "" for none; left_out: how many of a metric have
    no score, by reason."""

    names: tuple[str, ...]
    values: np.ndarray
    clusters: Mapping[str, np.ndarray]
    labels: np.ndarray
    label_names: tuple[str, ...]
    left_out: Mapping[str, Counter[str]] = field(default_factory=dict)

    def of(self, name: str) -> np.ndarray:
        """float64 [N] of one metric."""
        return self.values[:, self.names.index(name)]


class Scorer:
    """Scores pictures against their references.

    Args:
        looker: sees them.
        metrics: of single pictures.
        sets: of all of them; their features are kept on the way.
    """

    def __init__(self, looker: Looker, metrics: Sequence[Metric], sets: Sequence[SetMetric] = ()):
        self.looker, self.metrics, self.sets = looker, metrics, sets

    def score_all(
        self, roster: Roster, limit: int | None = None, steps: Callable[..., Iterable] = iter
    ) -> Scored:
        """The scores of all pictures of a roster, in their order. steps: goes around the results as
        they come, to watch them."""
        count = min(len(roster), limit or len(roster))
        values = np.full((count, len(self.metrics)), np.nan)
        clusters = {role: np.empty(count, np.int32) for role in ("content", "style")}
        codes: dict[str, dict[str, int]] = {role: {} for role in (*clusters, "label")}
        labels = np.empty(count, np.int32)
        left_out: dict[str, Counter[str]] = {metric.name: Counter() for metric in self.metrics}
        done = by_threads(self.score_some, _parts(islice(roster.items(), count)))
        for item, found, reasons in steps(one for some in done for one in some):
            values[item.number] = found
            for name, reason in reasons.items():
                left_out.setdefault(name, Counter())[reason] += 1
            for role, numbers in clusters.items():
                known = codes[role]
                numbers[item.number] = known.setdefault(item.cluster(role), len(known))
            known = codes["label"]
            labels[item.number] = known.setdefault(item.style or "", len(known))
        names = tuple(metric.name for metric in self.metrics)
        return Scored(names, values, clusters, labels, tuple(codes["label"]), left_out)

    def score_some(self, items: Sequence[Item]) -> list[tuple[Item, list[float], dict[str, str]]]:
        """`score` of each."""
        for extractor in {id(m.extractor): m.extractor for m in self.metrics}.values():
            self.looker.look_ahead([View(item.picture) for item in items], extractor)
        return [self.score(item) for item in items]

    def score(self, item: Item) -> tuple[Item, list[float], dict[str, str]]:
        """The scores of a picture, NaN where there is none, and why by name."""
        values, reasons = [], {}
        for metric in self.metrics:
            try:
                values.append(self.of_item(metric, item))
            except CannotLook as error:
                values.append(float("nan"))
                reasons[metric.name] = str(error)
        for extractor in self._kept_for_sets():
            try:
                self.looker.keep(View(item.picture), extractor)
            except CannotLook as error:
                reasons |= {m.name: str(error) for m in self.sets if m.extractor is extractor}
        return item, values, reasons

    def _kept_for_sets(self) -> list[Extractor]:
        found = {metric.extractor.fingerprint: metric.extractor for metric in self.sets}
        return list(found.values())

    def of_item(self, metric: Metric, item: Item, other: View | None = None) -> float:
        """A picture's score, the mean over its references. other: what is in its place. Raises
        CannotLook, also where it has no reference."""
        size = (item.width, item.height)
        view = other or View(item.picture)
        if metric.reference == "nothing":
            return self._pair(metric, view, "", lambda: None)
        if metric.reference == "caption":
            if not item.caption:
                raise CannotLook("no caption")
            return self._captioned(metric, view, item.caption)
        if metric.reference == "label":
            label = item.style
            if not label:
                raise CannotLook("no style")
            return self._pair(metric, view, f"label {label}", lambda: label)
        found = item.refs.get(metric.reference, ())
        if not found:
            raise CannotLook(f"linked to no {metric.reference}")
        return float(np.mean([self.against(metric, view, View(ref, size)) for ref in found]))

    def against(self, metric: Metric, view: View, reference: View) -> float:
        """The score of one view against another. Raises CannotLook."""
        return self._pair(
            metric, view, reference.name, lambda: self.looker.features(reference, metric.extractor)
        )

    def _captioned(self, metric: Metric, view: View, caption: str) -> float:
        text = metric.prefix + (caption.lower() if metric.lower_case else caption)
        return self._pair(
            metric, view, f"text {text}", lambda: self.looker.text(text, metric.extractor)
        )

    def _pair(
        self, metric: Metric, view: View, reference: str, other: Callable[[], object]
    ) -> float:
        store = self.looker.store
        known = store.score(metric.fingerprint, view.name, reference)
        if known is None:
            seen = self.looker.features(view, metric.extractor)
            known = metric.score(seen, other())
            store.keep_score(metric.fingerprint, view.name, reference, known)
        return known


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """As many as may be looked at together."""
    left = iter(items)
    while part := list(islice(left, TOGETHER)):
        yield part


def looked_at(
    looker: Looker, views: Iterable[View], extractor: Extractor, left_out: Counter[str]
) -> Iterator[str]:
    """The names of views whose features are in the store, put there if they are not; left_out
    counts those that cannot be looked at."""

    def keep(view: View) -> tuple[str, str]:
        try:
            looker.keep(view, extractor)
        except CannotLook as error:
            return view.name, str(error)
        return view.name, ""

    for name, reason in by_threads(keep, views):
        if reason:
            left_out[reason] += 1
        else:
            yield name
