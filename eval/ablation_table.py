"""What the runs of a matrix show: each row's scores with intervals, and how they differ from the
baseline's.

Pictures of a pair that come from several seeds count as their mean. Differences are taken pair by
pair; p-values are Holm's over all rows and metrics of the table. Contents and styles do not say how
much another training would differ: that is shown by the range over seeds, and a difference whose
ranges overlap is not called one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from eval.paired import Cell, Difference, corrected, uncorrected, value_of
from eval.statistics import interval_of, resampled_means

INSIDE_SEEDS = "inside noise of seeds"


@dataclass(frozen=True)
class Entry:
    """One metric of one row.

    value: the mean, over pairs and seeds, with its 95% interval (None for metrics of whole sets).
    seeds: the mean with each seed. difference: from the baseline, with its 95% interval; p: Holm's;
    verdict: "" for the baseline and for metrics of whole sets.
    """

    row: str
    metric: str
    better: str
    kind: str
    value: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    pairs: int = 0
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    verdict: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {**asdict(self), "seeds": list(self.seeds)}


def shared_metrics(
    summaries: Sequence[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Metrics that all evaluations measured alike, and a line for each other one."""
    first, *others = [{m["name"]: m for m in summary["metrics"]} for summary in summaries]
    names = sorted({name for found in (first, *others) for name in found})
    shared, notes = [], []
    for name in names:
        all_found = [found.get(name) for found in (first, *others)]
        values = [found and found["value"] for found in all_found]
        if any(value is None for value in values):
            lacking = [s["name"] for s, v in zip(summaries, values, strict=True) if v is None]
            notes.append(f"{name}: left out, {', '.join(lacking)} has no score")
        elif len({found["fingerprint"] for found in all_found if found}) > 1:
            notes.append(f"{name}: left out, measured with other weights or settings by some rows")
        else:
            shared.append(first[name])
    return shared, notes


def entries_of(
    cells: Mapping[str, Sequence[Mapping[Cell, np.ndarray]]],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    metrics: Sequence[Any],
    baseline: str,
) -> list[Entry]:
    """The table, by rows.

    Args:
        cells: each scored row's scores by pair (`eval.paired.cells_of`), float64 [M] of the
            metrics of single pictures, one mapping a seed.
        rows: each scored row's summaries by eval.run, one a seed.
        metrics: of `shared_metrics`.
        baseline: what the others are compared with; without it among `rows` nothing is compared.

    Raises UserError where rows have no pair of content and style in common with the baseline.
    """
    single = names_of_single(metrics)
    by_name = {metric["name"]: metric for metric in metrics}
    better = {name: metric["better"] for name, metric in by_name.items()}
    means_of = {row: merged(several) for row, several in cells.items()}
    found: list[tuple[str, Difference]] = []
    for row in rows if single and baseline in rows else ():
        if row == baseline:
            continue
        own = uncorrected(means_of[baseline], means_of[row], single, better)
        found += [(row, difference) for difference in own]
    differences = {
        (row, one.metric): one
        for (row, _), one in zip(found, corrected([one for _, one in found]), strict=True)
    }
    entries = []
    for row, summaries in rows.items():
        means = _means(means_of[row], single)
        for name, metric in by_name.items():
            seeds = tuple(value_of(summary, name) for summary in summaries)
            value, low, high = means.get(name, (float(np.mean(seeds)), None, None))
            entry = Entry(row, name, metric["better"], metric["kind"], value, low, high, seeds)
            entries.append(_beside(entry, differences.get((row, name)), rows.get(baseline, ())))
    return entries


def names_of_single(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the metrics that score single pictures."""
    return [metric["name"] for metric in metrics if metric["kind"] == "picture"]


def merged(several: Sequence[Mapping[Cell, np.ndarray]]) -> dict[Cell, np.ndarray]:
    """The mean of each pair over seeds, of what there is."""
    if len(several) == 1:
        return dict(several[0])
    stacks: dict[Cell, list[np.ndarray]] = {}
    for cells in several:
        for cell, values in cells.items():
            stacks.setdefault(cell, []).append(values)
    return {cell: _mean(np.stack(values)) for cell, values in stacks.items()}


def _mean(values: np.ndarray) -> np.ndarray:
    """Over rows, NaN where all are."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0.0).sum(axis=0) / there.sum(axis=0)


def _means(
    cells: Mapping[Cell, np.ndarray], names: Sequence[str]
) -> dict[str, tuple[float, float | None, float | None]]:
    """Mean over pairs, and its interval, of each metric."""
    if not names:
        return {}
    order = sorted(cells)
    values = np.stack([cells[cell] for cell in order])
    contents = [content or prompt for content, _, prompt in order]
    resampled = resampled_means(values, contents, [style for _, style, _ in order])
    overall = _mean(values)
    return {
        name: (float(overall[n]), *interval_of(resampled[:, n])) for n, name in enumerate(names)
    }


def _beside(
    entry: Entry, difference: Difference | None, baseline: Sequence[Mapping[str, Any]]
) -> Entry:
    """The entry with its difference from the baseline."""
    if difference is None:
        return entry
    verdict: str = difference.verdict
    own, base = entry.seeds, [value_of(summary, entry.metric) for summary in baseline]
    if (
        len(own) > 1
        and verdict != "inside noise"
        and max(own) >= min(base)
        and max(base) >= min(own)
    ):
        verdict = INSIDE_SEEDS
    return replace(
        entry, pairs=difference.pairs, difference=difference.difference,
        difference_low=difference.low, difference_high=difference.high, p=difference.p,
        verdict=verdict,
    )  # fmt: skip
