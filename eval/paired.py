"""Two sets of pictures of the same contents and styles, compared pair by pair.

What two models make of one content and one style is alike because of both, so differences are taken
within pairs; several pictures of a pair (other seeds) count as their mean. Intervals and p-values
are of the pigeonhole bootstrap over contents and styles, p-values corrected by Holm's method for
the number of metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from eval.statistics import holm, interval_of, p_value, resampled_means
from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.store.sidecar import read_columns

SIGNIFICANT = 0.05
Verdict = Literal["better", "worse", "inside noise"]
Cell = tuple[str, str, str]  # content, style, prompt where there is no content


@dataclass(frozen=True)
class Difference:
    """One metric of two sets. first, second: means over the pairs that both have; difference:
    second less first, with its 95% interval; p: Holm's; verdict: on the second."""

    metric: str
    better: str
    pairs: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    verdict: Verdict


def cells_of(layout: Layout, dataset: str, metrics: Sequence[str]) -> dict[Cell, np.ndarray]:
    """The mean scores of each pair of a scored dataset: float64 [M], NaN where there is none."""
    sums: dict[Cell, np.ndarray] = {}
    counts: dict[Cell, np.ndarray] = {}
    for path in layout.manifests_of(dataset):
        columns = ["key", "status", "style", "caption", "links"]
        rows = pq.ParquetFile(path).read(columns=columns).to_pylist()
        scores = read_columns(layout, dataset, path.stem, "scores").to_pylist()
        for row, score in zip(rows, scores, strict=True):
            if row["status"] != "ok":
                continue
            values = np.array(
                [np.nan if score.get(name) is None else score[name] for name in metrics]
            )
            there = ~np.isnan(values)
            cell = _cell(row)
            if cell not in sums:
                sums[cell], counts[cell] = np.zeros(len(metrics)), np.zeros(len(metrics))
            sums[cell] += np.where(there, values, 0.0)
            counts[cell] += there
    with np.errstate(invalid="ignore"):
        return {cell: total / counts[cell] for cell, total in sums.items()}


def _cell(row: Mapping[str, Any]) -> Cell:
    links = {link["role"]: f"{link['dataset']}/{link['key']}" for link in row["links"] or ()}
    content = links.get("content", "")
    prompt = "" if content else row["caption"] or row["key"]
    return content, links.get("style") or row["style"] or "", prompt


def value_of(summary: Mapping[str, Any], metric: str) -> float:
    """The mean, or the distance of sets, in what eval.run wrote."""
    return float(next(m["value"] for m in summary["metrics"] if m["name"] == metric))


def clusters(first: Mapping[Cell, Any], second: Mapping[Cell, Any]) -> dict[str, int]:
    """How many contents and styles the pairs are of that both have."""
    shared = first.keys() & second.keys()
    contents, styles = {c or p for c, _, p in shared}, {s for _, s, _ in shared}
    return {"content": len(contents), "style": len(styles)}


def differences(
    first: Mapping[Cell, np.ndarray],
    second: Mapping[Cell, np.ndarray],
    metrics: Sequence[str],
    better: Mapping[str, str],
) -> list[Difference]:
    """Second less first, for each metric that pairs of both have; Holm over the metrics. Raises
    UserError where they have no pair in common."""
    return corrected(uncorrected(first, second, metrics, better))


def uncorrected(
    first: Mapping[Cell, np.ndarray],
    second: Mapping[Cell, np.ndarray],
    metrics: Sequence[str],
    better: Mapping[str, str],
) -> list[Difference]:
    """`differences` before Holm's correction, all still inside noise."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise UserError(
            "the two have no pair of content and style in common: make pictures of the same "
            "samples with both"
        )
    a, b = (np.stack([cells[cell] for cell in shared]) for cells in (first, second))
    contents = [content or prompt for content, _, prompt in shared]
    styles = [style for _, style, _ in shared]
    apart = b - a
    means = resampled_means(apart, contents, styles)
    found: list[Difference] = []
    for column, name in enumerate(metrics):
        there = ~np.isnan(apart[:, column])
        if not there.any():
            continue
        low, high = interval_of(means[:, column])
        one, two = (float(values[there, column].mean()) for values in (a, b))
        mean = float(apart[there, column].mean())
        # equal pictures differ by nothing at all, which no bootstrap can call a difference
        p = 1.0 if not apart[there, column].any() else p_value(means[:, column])
        found.append(
            Difference(
                name, better[name], int(there.sum()), one, two, mean, low, high, p, "inside noise"
            )
        )
    return found


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """Differences that were looked at together, with Holm's p and the verdict by it."""
    return [
        replace(one, p=p, verdict=_verdict(one.difference, p, one.better))
        for one, p in zip(found, holm([one.p for one in found]), strict=True)
    ]


def _verdict(mean: float, p: float, better: str) -> Verdict:
    if p >= SIGNIFICANT or mean == 0:
        return "inside noise"
    return "better" if (mean > 0) == (better == "higher") else "worse"
