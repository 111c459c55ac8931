"""What Tessera's own `.json` members say, and what only looks like them."""

from typing import Any

import pytest

from toolkit.core.records import Link
from toolkit.store.told import told_by_us

OURS: dict[str, Any] = {
    "key": "t0", "dataset": "targets", "width": 4, "format": "jpeg", "style": "Cubism",
    "links": [{"role": "content", "dataset": "photos", "key": "a"}], "protocol": "p-1:ab",
    "attempt": 1, "protocol_exact": False, "weight": 1, "extra": '{"seed":3}', "grade": None,
}  # fmt: skip


def test_its_columns_are_taken_out() -> None:
    facts = dict(OURS)
    assert told_by_us(facts) == {
        "links": (Link("content", "photos", "a"),), "protocol": "p-1:ab", "attempt": 1,
        "protocol_exact": False, "weight": 1.0, "extra": {"seed": 3},
    }  # fmt: skip
    assert facts == {"style": "Cubism"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": None}, {"dataset": 3}, {"links": "content"}, {"links": [{"role": "content"}]},
        {"links": [{"role": 1, "dataset": "a", "key": "b"}]}, {"links": 5}, {"attempt": True},
        {"weight": "much"}, {"protocol": ["p"]}, {"extra": "{"}, {"extra": "[1]"}, {"extra": 7},
    ],
    ids=str,
)  # fmt: skip
def test_what_somebody_else_wrote_stays(wrong: dict[str, Any]) -> None:
    facts = {**OURS, **wrong}
    before = dict(facts)
    assert told_by_us(facts) == {}
    assert facts == before
