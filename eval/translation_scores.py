"""What ways of translating score: means with intervals clustered by picture and target."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.statistics import pigeonhole_interval


@dataclass(frozen=True)
class Share:
    """A mean, and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """What a way of translating scores. what: its name. target: a style, or "all". called: share
    whose pictures are taken for the target, by a probe of means, deviations and slopes of their
    latents; called_latents: share whose latents are, before they become pictures, by one of means
    and deviations alone. edges_1px, edges_4px: correlation of edges with the originals. taken_for:
    how often the probe of pictures names each style."""

    what: str
    target: str
    called: Share
    called_latents: Share
    edges_1px: Share
    edges_4px: Share
    taken_for: Mapping[str, float]


def scored_row(what: str, part: Mapping[str, Any], groups: Sequence[str]) -> Row:
    """The row of one target; part: `target`, `called`, `called_latents` [N], `edges` [N,2] and
    `taken_for`; groups: the photograph of each sample."""
    return pooled(what, [part], groups, part["target"])


def pooled(
    what: str, parts: Sequence[Mapping[str, Any]], groups: Sequence[str], target: str = "all"
) -> Row:
    """The row of several targets together."""
    pictures = [*groups] * len(parts)
    targets = [part["target"] for part in parts for _ in groups]
    called, latents = (
        np.concatenate([part[name] for part in parts]) for name in ("called", "called_latents")
    )
    edges = np.concatenate([part["edges"] for part in parts])
    total: Counter[str] = sum((part["taken_for"] for part in parts), Counter())
    fine, coarse = (share(edges[:, n], pictures, targets) for n in (0, 1))
    shares = {style: count / len(called) for style, count in total.items()}
    shown, before = (share(values, pictures, targets) for values in (called, latents))
    return Row(what, target, shown, before, fine, coarse, shares)


def share(values: np.ndarray, pictures: Sequence[str], targets: Sequence[str]) -> Share:
    """The mean of values [N], with an interval clustered by picture and target."""
    return Share(float(values.mean()), *pigeonhole_interval(values, pictures, targets))
