"""Grades: what refuses, what makes second class, what it weighs, and limits of one's own."""

from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.teachers.calibration import Labelled, caught, fit_limits, precision_and_recall
from toolkit.teachers.grading import (
    CHECKS,
    LEAST_WEIGHT,
    MOST_WEIGHT_OF_B,
    Limits,
    default_limits,
    grade,
    load_limits,
)

BY_CAUSE = {check.cause: check for check in CHECKS}


def fine() -> dict[str, float | None]:
    """Measures well inside class A."""
    return {
        cause: limit.fair
        - (1 if BY_CAUSE[cause].is_high_bad else -1) * 0.05 * (abs(limit.fair) + 1)
        for cause, limit in default_limits().items()
    }


def at(cause: str, share: float) -> float:
    """That share of the way from class A's end to being refused."""
    limit = default_limits()[cause]
    assert limit.refused is not None
    return limit.fair + share * (limit.refused - limit.fair)


def test_a_good_picture_is_first_class() -> None:
    assert grade(fine()) == grade({})
    assert (grade(fine()).grade, grade(fine()).weight) == ("A", 1.0)


@pytest.mark.parametrize("cause", [c.cause for c in CHECKS if c.refused is not None])
def test_every_check_refuses_beyond_its_limit_and_doubts_before(cause: str) -> None:
    refused = grade({**fine(), cause: at(cause, 1.2)})
    assert (refused.grade, refused.causes, refused.weight) == ("R", (cause,), 0.0)
    doubtful = grade({**fine(), cause: at(cause, 0.5)})
    assert (doubtful.grade, doubtful.doubts, doubtful.weight) == ("B", (cause,), 0.5)
    assert grade({**fine(), cause: at(cause, 0.01)}).weight == MOST_WEIGHT_OF_B
    assert grade({**fine(), cause: at(cause, 0.99)}).weight == LEAST_WEIGHT


@pytest.mark.parametrize("cause", [c.cause for c in CHECKS if c.refused is None])
def test_some_checks_never_refuse(cause: str) -> None:
    check = BY_CAUSE[cause]
    far = check.fair + (1 if check.is_high_bad else -1) * 100
    found = grade({**fine(), cause: far})
    assert (found.grade, found.doubts, found.weight) == ("B", (cause,), MOST_WEIGHT_OF_B)


def test_doubts_multiply() -> None:
    found = grade({**fine(), "structure": at("structure", 0.3), "leak": at("leak", 0.4)})
    assert found.doubts == ("structure", "leak")
    assert found.weight == pytest.approx(0.7 * 0.6)


def test_no_numbers_come_before_all_else() -> None:
    assert grade(fine(), is_finite=False).causes == ("nan",)


def test_a_black_picture_is_black_whatever_else_it_is() -> None:
    measures = {**fine(), "structure": at("structure", 5), "black": 0.0, "constant": 0.0}
    assert grade(measures).causes == ("black", "constant", "structure")


def test_the_worst_cause_comes_first() -> None:
    measures = {**fine(), "structure": at("structure", 1.1), "leak": at("leak", 1.8)}
    assert grade(measures).causes == ("leak", "structure")


def test_limits_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text("[structure]\nrefused = 0.1\n")
    limits = load_limits(path)
    assert limits["structure"] == Limits(default_limits()["structure"].fair, 0.1)
    assert limits["leak"] == default_limits()["leak"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[struktur]\nfair = 1", "no check struktur"),
        ("[structure]\nbad = 1", "takes fair and refused"),
        ("[structure]\nfair = 'x'", "must be a number"),
        ("[structure]\nrefused = 0.99", "must be worse than fair"),
        ("[leak]\nrefused = 0.01", "must be worse than fair"),
        ("structure = 1", "takes fair and refused"),
    ],
)
def test_bad_limits_are_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load_limits(path)


def labelled(label: str, **measures: float) -> Labelled:
    return Labelled(label, {**fine(), **measures})


def test_limits_are_fitted_between_good_and_faulty() -> None:
    good = [labelled("good", structure=0.6 + 0.01 * i) for i in range(40)]
    faulty = [labelled("structure", structure=0.1 + 0.005 * i) for i in range(40)]
    limits = fit_limits(good + faulty)
    refused = limits["structure"].refused
    assert refused is not None
    assert 0.295 < refused < 0.6
    assert limits["leak"] == default_limits()["leak"]  # nobody told of leaks
    found = caught(good + faulty, limits)
    assert (found["structure"].refused, found["good"].refused) == (40, 0)
    assert precision_and_recall(good + faulty, limits) == (1.0, 1.0)


def test_where_the_two_overlap_few_good_ones_are_lost() -> None:
    good = [labelled("good", leak=i / 100) for i in range(100)]
    faulty = [labelled("leak", leak=0.5 + i / 100) for i in range(100)]
    limits = fit_limits(good + faulty)
    found = caught(good + faulty, limits)
    assert found["good"].refused <= 4
    assert 50 <= found["leak"].refused <= 60
