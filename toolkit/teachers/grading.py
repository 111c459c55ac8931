"""Quality control: which generated pictures are refused, which are second class, what each weighs.

One table, `CHECKS`. Every measure has a place from which a picture is no longer first class (A) and
one from which it is refused. The numbers were fitted to real photographs, damaged and stylised on
purpose (`bench/quality.py`); `python -m toolkit.teach calibrate` fits them to labelled pictures of
your own, and `--thresholds=FILE.toml` brings them in.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.config import load_toml
from toolkit.core.errors import UserError
from toolkit.core.nearest import choices
from toolkit.measures.quality import Comparison

LEAST_WEIGHT, MOST_WEIGHT_OF_B = 0.25, 0.9


@dataclass(frozen=True)
class Check:
    """One row of the table.

    cause: the code that a refused picture carries; measure: its number, higher is worse where
    is_high_bad; fair: where class A ends, refused: where class B ends (None: never); source: where
    the limits come from.
    """

    cause: str
    measure: Callable[[Comparison], float | None]
    is_high_bad: bool
    fair: float
    refused: float | None
    source: str


@dataclass(frozen=True)
class Verdict:
    """grade: A, B or R (refused); causes: of the refusal, the worst first; doubts: what made it B;
    weight: 1 for A, 0.25 to 0.9 for B, 0 for R."""

    grade: str
    causes: tuple[str, ...]
    doubts: tuple[str, ...]
    weight: float


def _sharpness(c: Comparison) -> float:
    """Below 1 for what is blurred: without high frequencies, without noise, edges not the
    content's."""
    return max(c.high_frequency_ratio / 0.0025, c.noise_ratio / 0.12, c.structure_fine / 0.65)


def _novelty(c: Comparison) -> float:
    """Below 1 for what is the content still, in its colours and in its fine structure."""
    return max(c.change / 0.03, (1 - c.structure_fine) / 0.05)


_FIT = "bench/quality.py"
CHECKS: tuple[Check, ...] = (
    Check("black", lambda c: c.high, False, 0.32, 0.05, "cleanvision: darkness at 0.32"),
    Check("constant", lambda c: min(c.contrast / 0.06, c.deviation / 0.02), False, 1.5, 1.0, _FIT),
    Check("saturated", lambda c: c.saturation_excess, True, 0.10, 0.15, _FIT),
    Check("clipped", lambda c: c.clipping_excess, True, 0.30, None, _FIT),
    Check("structure", lambda c: c.structure_coarse, False, 0.70, 0.35, _FIT),
    Check("detail", lambda c: c.structure_fine, False, 0.40, None, _FIT),
    Check("leak", lambda c: c.leak, True, 0.35, 0.55, _FIT),
    Check("high_frequency", lambda c: c.high_frequency_ratio, True, 1.5, 3.0, _FIT),
    Check("noise", lambda c: c.noise_ratio, True, 2.0, 3.5, _FIT),
    Check("impulses", lambda c: c.impulse_excess, True, 0.01, 0.02, _FIT),
    Check("grid", lambda c: c.grid, True, 1.12, 1.2, _FIT),
    Check("blur", _sharpness, False, 3.0, 2.0, _FIT),
    Check("unchanged", _novelty, False, 1.0, None, _FIT),
    Check(
        "clip_content",
        lambda c: c.clip_content,
        False,
        0.6,
        None,
        "a guess for ViT-L/14, not measured",
    ),
)


@dataclass(frozen=True)
class Limits:
    """Where class A and class B of one check end; refused may be None: never."""

    fair: float
    refused: float | None


def default_limits() -> dict[str, Limits]:
    """Those of the table, by cause."""
    return {check.cause: Limits(check.fair, check.refused) for check in CHECKS}


def load_limits(path: Path | None) -> dict[str, Limits]:
    """The table's limits, replaced by those of a TOML file: a group for each cause, `fair` and
    `refused` in it. Raises UserError for an unknown cause or name, or limits in the wrong order."""
    limits = default_limits()
    for cause, group in (load_toml(path) if path else {}).items():
        if cause not in limits:
            raise UserError(f"{path}: there is no check {cause}: {choices(cause, limits)}")
        if not isinstance(group, dict) or set(group) - {"fair", "refused"}:
            raise UserError(f"{path}: [{cause}] takes fair and refused")
        if odd := [name for name, value in group.items() if not _is_number(value)]:
            raise UserError(f"{path}: {cause}.{odd[0]} must be a number")
        limits[cause] = dataclasses.replace(limits[cause], **group)
        check = next(check for check in CHECKS if check.cause == cause)
        fair, refused = limits[cause].fair, limits[cause].refused
        if refused is not None and (fair > refused) == check.is_high_bad and fair != refused:
            raise UserError(f"{path}: {cause}.refused={refused} must be worse than fair={fair}")
    return limits


def measures_of(compared: Comparison) -> dict[str, float | None]:
    """The number that each check looks at, by cause; rounded, so that it can be stored."""
    found = {check.cause: check.measure(compared) for check in CHECKS}
    return {cause: None if v is None else round(float(v), 5) for cause, v in found.items()}


def grade(
    measures: Mapping[str, float | None],
    is_finite: bool = True,
    limits: Mapping[str, Limits] | None = None,
) -> Verdict:
    """Grades a picture by its measures.

    A check without a number (a single grey has no hash) says nothing. Of class B, each doubtful
    check multiplies the weight by how far it still is from being refused.

    Args:
        measures: as `measures_of` gives.
        is_finite: whether the picture came out in numbers; else it is refused as `nan`.
        limits: as `load_limits` gives; the table's otherwise.
    """
    if not is_finite:
        return Verdict("R", ("nan",), (), 0.0)
    limits = limits or default_limits()
    causes: list[tuple[float, str]] = []
    doubts, weight = [], 1.0
    for check in CHECKS:
        value, limit = measures.get(check.cause), limits[check.cause]
        if value is None:
            continue
        sign = 1 if check.is_high_bad else -1
        beyond = sign * (value - limit.fair)
        room = None if limit.refused is None else sign * (limit.refused - limit.fair)
        if room is not None and sign * (value - limit.refused) > 0:  # type: ignore[operator]
            causes.append((-(beyond / room if room else 1.0), check.cause))
        elif beyond > 0:
            doubts.append(check.cause)
            weight *= MOST_WEIGHT_OF_B if not room else 1 - beyond / room
    if causes:
        return Verdict("R", tuple(_ordered(causes)), tuple(doubts), 0.0)
    if doubts:
        weight = min(max(weight, LEAST_WEIGHT), MOST_WEIGHT_OF_B)
        return Verdict("B", (), tuple(doubts), round(weight, 4))
    return Verdict("A", (), (), 1.0)


def _ordered(causes: list[tuple[float, str]]) -> list[str]:
    """The worst first; but a black picture or one colour is that, whatever else follows from it."""
    names = [cause for _, cause in sorted(causes)]
    plain = [cause for cause in ("black", "constant") if cause in names]
    return plain + [name for name in names if name not in plain]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
