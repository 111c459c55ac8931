"""What metrics say of pictures whose score is known or is to be worse: without them a number means
nothing.

* identity: the reference in the picture's place, whose score has to be the best there is;
* shuffled: the picture against another picture's reference;
* unchanged: the content in the picture's place, as a model gives it that does nothing;
* real: for metrics against a style, a painting against another one of its style; for those that
  ask for its name, the painting itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.features.api import CannotLook
from eval.looking import View, by_threads
from eval.metrics.api import Metric
from eval.roster import Item, Picture, Roster
from eval.scoring import Scored, Scorer
from eval.statistics import shuffled
from toolkit.core.keyed import key64

MOST = 200  # pictures that sentinels are computed of
_EXACT = 1e-4
KINDS = ("identity", "shuffled", "unchanged", "real")


@dataclass(frozen=True)
class Sentinels:
    """pictures: how many were looked at. means: by metric and kind, None where there is none.
    nearer: by metric, the share of pictures that score better beside their own reference than
    beside another one's, a half by chance. broken: metrics of which a picture compared with itself
    is not the best."""

    pictures: int
    means: dict[str, dict[str, float | None]]
    nearer: dict[str, float]
    broken: tuple[str, ...]


def sentinels(scorer: Scorer, roster: Roster, scored: Scored) -> Sentinels:
    """Of the pictures that come first by a fixed lot."""
    count = len(scored.values)
    chosen = sorted(range(count), key=lambda n: key64("sentinel", n))[:MOST]
    partners = {role: shuffled(scored.clusters[role]) for role in scored.clusters}
    of_style = _by_style(roster)
    values: dict[tuple[str, str], list[float]] = {}
    better = {metric.name: metric.better for metric in scorer.metrics}

    def look(
        given: tuple[Item, dict[str, Item]],
    ) -> tuple[Item, list[tuple[tuple[str, str], float]]]:
        item, others = given
        found = []
        for metric in scorer.metrics:
            other = others["content" if metric.reference == "content" else "style"]
            for kind in KINDS:
                value = _of(kind, scorer, metric, item, other, of_style)
                if value is not None:
                    found.append(((metric.name, kind), value))
        return item, found

    given = (
        (roster.item(n), {role: roster.item(int(p[n])) for role, p in partners.items()})
        for n in chosen
    )
    wins: dict[str, list[bool]] = {}
    for item, found in by_threads(look, given):
        for (name, kind), value in found:
            values.setdefault((name, kind), []).append(value)
            own = scored.of(name)[item.number]
            if kind == "shuffled" and not np.isnan(own):
                is_higher = better[name] == "higher"
                wins.setdefault(name, []).append(own > value if is_higher else own < value)
    means = {
        metric.name: {
            kind: float(np.mean(values[metric.name, kind])) if (metric.name, kind) in values
            else None
            for kind in KINDS
        }
        for metric in scorer.metrics
    }  # fmt: skip
    broken = tuple(
        metric.name for metric in scorer.metrics
        if metric.best is not None
        and any(abs(v - metric.best) > _EXACT for v in values.get((metric.name, "identity"), ()))
    )  # fmt: skip
    nearer = {name: float(np.mean(won)) for name, won in wins.items()}
    return Sentinels(len(chosen), means, nearer, broken)


def _of(
    kind: str, scorer: Scorer, metric: Metric, item: Item, other: Item,
    of_style: dict[str, list[Picture]],
) -> float | None:  # fmt: skip
    size = (item.width, item.height)
    try:
        if kind == "unchanged":
            contents = item.refs.get("content", ())
            if metric.reference in ("content", "nothing") or not contents:
                return None
            return scorer.of_item(metric, item, View(contents[0], size))
        if kind == "shuffled":
            return _shuffled(scorer, metric, item, other)
        if kind == "real" and metric.reference == "label":
            own_styles = item.refs.get("style", ())
            return scorer.of_item(metric, item, View(own_styles[0], size)) if own_styles else None
        if metric.reference not in ("content", "style", "target"):
            return None
        reference = item.refs.get(metric.reference, (None,))[0]
        if reference is None:
            return None
        own = View(reference, size)
        if kind == "identity":
            return scorer.against(metric, own, own)
        if metric.reference != "style":
            return None
        alike = [p for p in of_style.get(reference.style or "", ()) if p.key != reference.key]
        if not alike:
            return None
        second = alike[key64("real", reference.key) % len(alike)]
        return scorer.against(metric, own, View(second, size))
    except CannotLook:
        return None


def _shuffled(scorer: Scorer, metric: Metric, item: Item, other: Item) -> float | None:
    if metric.reference == "nothing" or other.number == item.number:
        return None
    if metric.reference in ("caption", "label"):
        # the other one's text, beside this picture
        return scorer.of_item(metric, other, View(item.picture))
    found: Sequence[Picture] = other.refs.get(metric.reference, ())
    if not found:
        return None
    size = (item.width, item.height)
    own = View(item.picture)
    return float(np.mean([scorer.against(metric, own, View(ref, size)) for ref in found]))


def _by_style(roster: Roster) -> dict[str, list[Picture]]:
    """References by their style; a few hundred at most of each are enough."""
    found: dict[str, list[Picture]] = {}
    for picture in roster.all_references("style"):
        if picture.style and len(found.setdefault(picture.style, [])) < MOST:
            found[picture.style].append(picture)
    return found
