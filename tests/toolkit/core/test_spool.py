"""The spool keeps order, finds keys, and stays small; a set of keys tells what it has seen."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.core.spool import SeenKeys, Spool

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def rows() -> list[tuple[str, int]]:
    """Keys with repeats, of all kinds of characters, shuffled."""
    keys = ["a", "B", "é", "z\0y", "日本", "", "a b", "10", "9", "\udcff name"]
    found = [(key, number) for number, key in enumerate(keys * 3)]
    random.Random(1).shuffle(found)
    return found


def test_rows_come_by_key_and_then_as_they_were_added(rows: list[tuple[str, int]]) -> None:
    with Spool() as spool:
        spool.add("x", rows[:11])
        spool.add("other", [("a", "not this one")])
        spool.add("x", rows[11:])
        expected = sorted(rows, key=lambda row: row[0].encode("utf-8", "surrogateescape"))
        assert list(spool.walk("x")) == expected
        for key in {key for key, _ in rows}:
            assert spool.get("x", key) == [value for name, value in rows if name == key]
        assert spool.get("x", "nowhere") == []
        assert list(spool.walk("none")) == []


def test_values_are_any_json() -> None:
    values = [None, 1.5, "text", [1, {"a": None}], {"b": "\udcff"}]
    with Spool() as spool:
        spool.add("x", [("k", value) for value in values])
        assert spool.get("x", "k") == values


def test_missing_and_repeated() -> None:
    with Spool() as spool:
        spool.add("have", [("a", 1), ("b", 2), ("b", 3), ("c", 4)])
        spool.add("want", [("b", None), ("d", None)])
        assert list(spool.missing("have", "want")) == [("a", 1), ("c", 4)]
        assert list(spool.missing("want", "have")) == [("d", None)]
        assert spool.repeated("have") == [("b", [2, 3])]
        spool.add("want", [("a", None)])  # adding after reading counts too
        assert list(spool.missing("have", "want")) == [("c", 4)]


def test_two_walks_do_not_disturb_each_other(rows: list[tuple[str, int]]) -> None:
    with Spool() as spool:
        spool.add("x", rows)
        one, other = spool.walk("x"), spool.walk("x")
        assert [next(one) == next(other) for _ in rows] == [True] * len(rows)


def test_seen_keys() -> None:
    with SeenKeys() as seen:
        keys = ["a", "b", "a", "\udcff", "\udcff", "A"]
        assert [seen.add(key) for key in keys] == [True, True, False, True, False, True]


PROGRAM = """
import sys
from toolkit.core.spool import SeenKeys, Spool

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

before = anonymous()
with Spool() as spool, SeenKeys() as seen:
    for start in range(0, int(sys.argv[1]), 1000):
        keys = [f"{(n * 7919) % 1000003:09d}" for n in range(start, start + 1000)]
        spool.add("x", ((key, "some text of a usual length " * 3) for key in keys))
        for key in keys:
            seen.add(key)
    for key, _ in spool.walk("x"):
        pass
    print(anonymous() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's accounts")
def test_memory_does_not_grow_with_the_rows() -> None:
    def grown(count: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(count)],
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        return int(done.stdout)

    # 200,000 rows are 20 MB of text
    assert grown(200_000) < grown(50_000) + 6_000
