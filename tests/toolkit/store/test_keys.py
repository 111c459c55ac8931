"""Names: legal characters only, distinct for distinct inputs, stable."""

import re

import pytest

from toolkit.core.errors import UserError
from toolkit.store.keys import MAX_KEY_LENGTH, check_dataset_name, is_key, make_key, shard_stem

LEGAL = re.compile(r"[a-z0-9_-]{1,80}\Z")
AWKWARD = [
    "a.b.c", "a b", "a/b", "a\\b", "../../etc/passwd", "..", ".", "", " ", "A", "ä", "画", "a\nb",
    "a\tb", "a:b", "a*b?", "-", "--", "é" * 300, "x" * 81, "x" * 300, "X" * 300, "a\x00b", "a\n",
    "%2e%2e", "a'b\"c", "\U0001f600", "b\udcff", "Vincent van Gogh/The Starry Night (1889).jpg",
]  # fmt: skip


@pytest.mark.parametrize("source_id", AWKWARD, ids=range(len(AWKWARD)))
def test_every_key_is_legal(source_id: str) -> None:
    assert LEGAL.match(make_key(source_id))
    assert is_key(make_key(source_id))


def test_distinct_ids_keep_distinct_keys() -> None:
    alike = [
        *AWKWARD, *(f"a{c}b" for c in "._ -/\\+()[]"), "a_b", "a__b", "A_B", "A_b", "_a_b_",
        *("x" * n for n in range(70, 300)), *("y" * 299 + c for c in "abc"),
        *("Y" * 299 + c for c in "abc"),
    ]  # fmt: skip
    ids = set(alike)
    assert len({make_key(source_id) for source_id in ids}) == len(ids)


def test_a_legal_id_is_its_own_key() -> None:
    for source_id in ("chelsea-00", "000123", "a_b-c", "x" * MAX_KEY_LENGTH):
        assert make_key(source_id) == source_id
    assert make_key(make_key("A strange / id")) == make_key("A strange / id")


def test_a_made_key_stays_readable_and_stable() -> None:
    key = make_key("Vincent van Gogh/The Starry Night")
    assert key.startswith("vincent_van_gogh_the_starry_night-")
    assert key == "vincent_van_gogh_the_starry_night-9ec13e201d"
    assert len(make_key("X" * 300)) == MAX_KEY_LENGTH


@pytest.mark.parametrize("text", ["A", "a.b", "a b", "", "x" * 81, "é", "a\n", "a/b"])
def test_what_is_no_key(text: str) -> None:
    assert not is_key(text)


@pytest.mark.parametrize("name", ["wikiart", "a", "0", "my-data_2", "x" * 64])
def test_good_dataset_names(name: str) -> None:
    assert check_dataset_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "_a", "../x", "a/b", "a b", "a.b", "x" * 65, "a\n", "é", "a'b"]
)
def test_bad_dataset_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot name a dataset: use a-z"):
        check_dataset_name(name)


def test_shards_sort_in_their_order() -> None:
    assert shard_stem("content", 3) == "content-000003"
    stems = [shard_stem("d", index) for index in (0, 1, 9, 10, 99, 100, 999_999)]
    assert stems == sorted(stems)
