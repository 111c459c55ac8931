"""Distances of all pictures together from the set of their references, with what they are to be
read beside: the contents in the pictures' place, and one half of the references against the other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

from eval.looking import Looker, View
from eval.metrics.api import FeatureSet, MetricResult, SetMetric, SetScore
from eval.roster import Roster
from eval.scoring import looked_at


def set_result(
    metric: SetMetric, looker: Looker, roster: Roster, count: int, means: Mapping[str, float]
) -> MetricResult:
    """A set metric of the first `count` pictures. means: of metrics of single pictures, by name."""
    left_out: Counter[str] = Counter()
    size = common_size(roster)
    unseen: Counter[str] = Counter()
    references = _names_of(metric.reference, looker, roster, metric, size, unseen)
    views = (View(item.picture) for item in islice(roster.items(), count))
    outputs = _set(looker, metric, looked_at(looker, views, metric.extractor, left_out))
    wanted = _set(looker, metric, references)
    lacking = [name for name in metric.needs if name not in means]
    if not outputs.count or not wanted.count:
        found = SetScore(None, notes=(f"linked to no {metric.reference}",))
    elif lacking:
        found = SetScore(None, notes=(f"needs the metric {', '.join(lacking)}",))
    else:
        found = metric.distance(outputs, wanted, means)
    baselines = {}
    if found.value is not None and not metric.needs:
        baselines = _baselines(metric, looker, roster, references, size)
    return MetricResult(
        metric.name, "set", found.value, found.low, found.high, outputs.count, metric.better,
        metric.reference, metric.unit, metric.extractor.identity, metric.extractor.fingerprint,
        {**metric.settings, "references": wanted.count}, baselines, left_out, found.expected,
        (*found.notes, *(f"{n} references left out: {why}" for why, n in unseen.items())),
    )  # fmt: skip


def _baselines(
    metric: SetMetric, looker: Looker, roster: Roster, references: list[str],
    size: tuple[int, int],
) -> dict[str, float | None]:  # fmt: skip
    contents = _names_of("content", looker, roster, metric, size, Counter())
    wanted = _set(looker, metric, references)
    found: dict[str, float | None] = {}
    if contents and metric.reference != "content":
        unchanged = _set(looker, metric, contents)
        found["unchanged"] = metric.distance(unchanged, wanted, {}).value
    halves = [_set(looker, metric, sorted(references)[n::2]) for n in (0, 1)]
    if all(half.count > 1 for half in halves):
        found["real"] = metric.distance(halves[0], halves[1], {}).value
    return found


def _names_of(
    role: str, looker: Looker, roster: Roster, metric: SetMetric, size: tuple[int, int],
    left_out: Counter[str],
) -> list[str]:  # fmt: skip
    views = (View(picture, size) for picture in roster.all_references(role))
    return list(looked_at(looker, views, metric.extractor, left_out))


def _set(looker: Looker, metric: SetMetric, names: Iterable[str]) -> FeatureSet:
    return looker.store.set_of(metric.extractor.fingerprint, metric.which, list(names))


def common_size(roster: Roster) -> tuple[int, int]:
    """The width and height that most pictures have: that of references as a set."""
    sizes = Counter((item.width, item.height) for item in roster.items())
    return min(sizes, key=lambda size: (-sizes[size], size))
