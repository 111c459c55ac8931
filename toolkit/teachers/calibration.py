"""Limits of quality control, fitted to pictures whose fault is known, and what they then catch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.teachers.grading import CHECKS, Check, Limits, default_limits, grade

GOOD = "good"
FALSE_REFUSALS, FALSE_DOUBTS = 0.04, 0.25
"""Shares of the good pictures that all checks together may refuse, and may call second class."""
LEAST_GOOD, LEAST_FAULTY = 10, 5
"""Pictures below which nothing is fitted."""


@dataclass(frozen=True)
class Labelled:
    """label: `good`, or the fault, which is a cause of the table or any other word; measures: as
    `measures_of` gives; is_finite: as the teacher said; kind: how it was made, for the report."""

    label: str
    measures: Mapping[str, float | None]
    is_finite: bool = True
    kind: str = ""


@dataclass(frozen=True)
class Caught:
    """Of pictures of one label or kind. refused, second: how many were refused, and graded B;
    causes: how often each was the first cause."""

    count: int
    refused: int
    second: int
    causes: Mapping[str, int]


def fit_limits(samples: Sequence[Labelled]) -> dict[str, Limits]:
    """Limits for the checks that have enough pictures with their fault; the table's for the others.

    Each check gets an equal part of the good pictures that may be refused wrongly. Where its faulty
    pictures lie far beyond, the limit stands half way between the two.

    Raises ValueError without good pictures.
    """
    good = [sample.measures for sample in samples if sample.label == GOOD]
    if not good:
        raise ValueError(f"no picture is labelled {GOOD}")
    limits, labels = default_limits(), [sample.label for sample in samples]
    if len(good) < LEAST_GOOD:
        return limits
    fitted = [c for c in CHECKS if labels.count(c.cause) >= LEAST_FAULTY]
    for check in fitted:
        fine = _values(check, good)
        faulty = _values(check, [s.measures for s in samples if s.label == check.cause])
        if not len(fine) or not len(faulty) or limits[check.cause].refused is None:
            continue
        worst = float(np.quantile(fine, 1 - FALSE_REFUSALS / len(fitted)))
        mildest = float(np.quantile(faulty, 0.02))
        refused = (worst + mildest) / 2 if mildest > worst else worst
        fair = min(float(np.quantile(fine, 1 - FALSE_DOUBTS / len(fitted))), refused)
        sign = 1 if check.is_high_bad else -1
        limits[check.cause] = Limits(round(sign * fair, 4), round(sign * refused, 4))
    return limits


def caught(
    samples: Sequence[Labelled], limits: Mapping[str, Limits], by: str = "label"
) -> dict[str, Caught]:
    """What the limits make of the pictures, by their `label` or `kind`."""
    groups: dict[str, list[Labelled]] = {}
    for sample in samples:
        groups.setdefault(getattr(sample, by), []).append(sample)
    found = {}
    for name, group in groups.items():
        verdicts = [grade(sample.measures, sample.is_finite, limits) for sample in group]
        causes: dict[str, int] = {}
        for verdict in verdicts:
            for cause in verdict.causes[:1]:
                causes[cause] = causes.get(cause, 0) + 1
        grades = [verdict.grade for verdict in verdicts]
        found[name] = Caught(len(group), grades.count("R"), grades.count("B"), causes)
    return found


def precision_and_recall(
    samples: Sequence[Labelled], limits: Mapping[str, Limits]
) -> tuple[float, float]:
    """Of refusing: the share of refused pictures that are faulty, and of faulty ones refused. 1
    where there is none of which it would be a share."""
    is_refused = [grade(s.measures, s.is_finite, limits).grade == "R" for s in samples]
    is_faulty = [s.label != GOOD for s in samples]
    both = sum(r and f for r, f in zip(is_refused, is_faulty, strict=True))
    return (
        both / sum(is_refused) if any(is_refused) else 1.0,
        both / sum(is_faulty) if any(is_faulty) else 1.0,
    )


def num_wrong(samples: Sequence[Labelled], limits: Mapping[str, Limits]) -> int:
    """Good pictures that are refused, and faulty ones that are not."""
    verdicts = ((s.label != GOOD, grade(s.measures, s.is_finite, limits)) for s in samples)
    return sum(is_faulty != (verdict.grade == "R") for is_faulty, verdict in verdicts)


def _values(check: Check, measures: Sequence[Mapping[str, float | None]]) -> np.ndarray:
    """The check's numbers, so turned that more is worse."""
    found = [value for m in measures if (value := m.get(check.cause)) is not None]
    return np.array(found, np.float64) * (1 if check.is_high_bad else -1)
