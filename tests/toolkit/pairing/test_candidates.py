"""Candidates: one side of the split, without pictures that leak from it."""

from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tests.conftest import ToySource, encoded, picture
from toolkit.core.errors import UserError
from toolkit.core.records import Link, Record
from toolkit.packing.dataset import pack
from toolkit.pairing.candidates import find_candidates
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.near import are_alike, near_hashes


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


@pytest.mark.parametrize("bits", [0, 3, 4, 8])
def test_the_banded_join_finds_what_comparing_all_finds(bits: int) -> None:
    rng = np.random.Generator(np.random.Philox(bits))
    left = [int(x) for x in rng.integers(0, 2**64, 60, dtype=np.uint64)]
    right = [*(int(x) for x in rng.integers(0, 2**64, 40, dtype=np.uint64))]
    for number, value in enumerate(left[:40]):  # copies, a few bits apart
        flips = rng.choice(64, size=number % 12, replace=False)
        right.append(value ^ sum(1 << int(bit) for bit in flips))
    con = duckdb.connect()
    tables = []
    for name, values in (("l", left), ("r", right)):
        con.execute(f"CREATE TABLE {name}(phash BIGINT)")
        con.executemany(f"INSERT INTO {name} VALUES (?)", [(signed(v),) for v in values])
        con.execute(f"INSERT INTO {name} VALUES (NULL)")
        tables.append(f"SELECT phash FROM {name}")
    found = {phash for (phash,) in con.execute(near_hashes(*tables, bits)).fetchall()}
    assert found == {signed(a) for a in left if any((a ^ b).bit_count() <= bits for b in right)}
    assert len(found) >= bits


def test_alike_counts_bits_of_signed_numbers() -> None:
    assert are_alike(-1, signed(2**64 - 1 - 0b11111111))
    assert not are_alike(-1, signed(2**64 - 1 - 0b111111111))
    assert not are_alike(None, -1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Four pictures in train (one of them without a split), one of which val has too; one of
    test."""
    splits = {"a": None, "b": "train", "c": "train", "copy": "train", "v": "val", "t": "test"}
    seeds = {"a": 1, "b": 2, "c": 3, "copy": 9, "v": 9, "t": 5}
    records = {
        key: Record(
            {"jpg": encoded(picture(seeds[key], 96, 96), quality=80 if key == "v" else 90)},
            split=split, style="Cubism",
        )
        for key, split in splits.items()
    }  # fmt: skip
    found = Layout(tmp_path / "shards", tmp_path / "manifests")
    pack(ToySource("toy", records), "toy", found, 10)
    return found


def test_a_split_without_what_a_later_one_has(layout: Layout) -> None:
    notes: Counter[str] = Counter()
    found = find_candidates(Catalog(layout), "true", "style", "train", "split", notes)
    assert [p.key for p in found] == ["a", "b", "c"]
    assert notes == {"style pictures left out, nearly the same as one of val or test": 1}
    found = find_candidates(Catalog(layout), "true", "style", "val", "split", notes)
    assert [p.key for p in found] == ["v"]  # the later split keeps it


def test_what_was_made_from_a_later_split_takes_nothing_away(layout: Layout) -> None:
    made = Record(
        {"jpg": encoded(picture(1, 96, 96))}, split="val", links=(Link("content", "toy", "v"),)
    )
    pack(ToySource("made", {"v_a": made}), "made", layout, 10)
    own = "dataset = 'toy'"
    found = find_candidates(Catalog(layout), own, "content", "train", "split", Counter())
    assert [p.key for p in found] == ["a", "b", "c"]


def test_nothing_found_says_why(layout: Layout) -> None:
    catalog, notes = Catalog(layout), Counter[str]()
    with pytest.raises(UserError, match="has no picture of val, only of train"):
        find_candidates(catalog, "key = 'b'", "content", "val", "split", notes)
    with pytest.raises(UserError, match="did you mean 'Cubism'"):
        find_candidates(catalog, "style = 'Cubsim'", "content", "train", "split", notes)
    with pytest.raises(UserError, match="all 1 of train are nearly the same"):
        find_candidates(catalog, "key = 'copy'", "content", "train", "split", notes)


def test_a_key_in_two_datasets_is_refused(layout: Layout) -> None:
    record = Record({"jpg": encoded(picture(77, 96, 96))})
    pack(ToySource("other", {"b": record}), "other", layout, 10)
    with pytest.raises(UserError, match="b stands in other and in toy"):
        find_candidates(Catalog(layout), "true", "content", "train", "split", Counter())
