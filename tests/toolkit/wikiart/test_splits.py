"""Splits of WikiArt: ratio, strata, copies, whole artists, and what is recorded stays."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.core.errors import UserError
from toolkit.core.spool import Spool
from toolkit.wikiart.splits import assign, note_recorded, note_work, recorded_files

Row = tuple[str, str, str]  # source id, artist, work
Splits = dict[str, tuple[str, str]]


def split(rows: Iterable[Row], *recorded: Path) -> Splits:
    with Spool() as spool:
        note_recorded(spool, recorded)
        for row in rows:
            note_work(spool, *row)
        found = list(assign(spool))
    chosen = {name: (stratified, whole) for name, stratified, whole in found}
    assert len(chosen) == len(found)
    return chosen


def record(path: Path, splits: Splits, columns: int = 3) -> Path:
    names = ("source_id", "split", "split_artist_disjoint")[:columns]
    rows = [dict(zip(names, (name, *pair), strict=False)) for name, pair in splits.items()]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def works(artist: str, count: int, start: int = 0) -> list[Row]:
    return [(f"{artist}/{i}", artist, f"{artist}_{i}") for i in range(start, start + count)]


def many(artists: int = 120) -> list[Row]:
    """Artists of 1, 2, … works, up to 60, as uneven as real ones."""
    return [row for i in range(artists) for row in works(f"artist{i}", 1 + (i * i) % 60)]


def test_the_whole_keeps_the_ratio() -> None:
    chosen = split(many())
    for which in (0, 1):
        counts = Counter(pair[which] for pair in chosen.values())
        share = {name: counts[name] / len(chosen) for name in ("train", "val", "test")}
        assert share == pytest.approx({"train": 0.8, "val": 0.1, "test": 0.1}, abs=0.02)


def test_an_artist_of_exactly_ten_works_gives_one_to_val_and_one_to_test() -> None:
    chosen = split(works("a", 10) + works("b", 30))
    counts = {name: Counter(v[0] for k, v in chosen.items() if k[0] == name) for name in "ab"}
    assert counts["a"] == {"train": 8, "val": 1, "test": 1}
    assert counts["b"] == {"train": 24, "val": 3, "test": 3}


def test_every_artist_has_a_work_in_train_and_small_ones_nowhere_else() -> None:
    rows = many()
    chosen = split(rows)
    of = defaultdict(list)
    for name, artist, _ in rows:
        of[artist].append(chosen[name][0])
    assert all("train" in splits for splits in of.values())
    small = [splits for splits in of.values() if len(splits) < 3]
    assert small
    assert {name for splits in small for name in splits} == {"train"}
    assert any(set(splits) > {"train"} for splits in of.values() if len(splits) < 10)


def test_whole_artists_are_on_one_side() -> None:
    rows = [*many(), *((f"?/{i}", "", f"?{i}") for i in range(40))]
    chosen = split(rows)
    sides = defaultdict(set)
    for name, artist, _ in rows:
        sides[artist].add(chosen[name][1])
    assert all(len(side) == 1 for side in sides.values())
    assert sides[""] == {"train"}
    assert set.union(*sides.values()) == {"train", "val", "test"}


def test_unknown_artists_are_split_by_work_alone() -> None:
    chosen = split((f"?/{i}", "", f"?{i}") for i in range(200))
    assert Counter(pair[0] for pair in chosen.values()) == {"train": 160, "val": 20, "test": 20}


def test_neither_works_nor_artists_are_taken_by_name() -> None:
    chosen = split(works("a", 100))
    given = sorted(int(name[2:]) for name, pair in chosen.items() if pair[0] != "train")
    assert len(given) == 20
    assert max(given) - min(given) > 60
    sides = split(row for i in range(100) for row in works(f"a{i:02d}", 1))
    away = [int(name[1:3]) for name, pair in sides.items() if pair[1] != "train"]
    assert len(away) == 20
    assert max(away) - min(away) > 60


def test_unknown_artists_are_never_held_back(tmp_path: Path) -> None:
    known = works("a", 40)
    file = record(tmp_path / "s.parquet", {name: ("train", "train") for name, _, _ in known})
    chosen = split([*known, ("?/0", "", "?"), ("b/0", "b", "b")], file)
    assert chosen["b/0"][1] != "train"  # where a known artist is needed
    assert chosen["?/0"][1] == "train"


def test_an_artist_recorded_in_test_alone_gets_a_work_in_train(tmp_path: Path) -> None:
    file = record(tmp_path / "s.parquet", {f"a/{i}": ("test", "test") for i in range(29)})
    assert split(works("a", 30), file)["a/29"][0] == "train"


def test_the_order_of_the_pictures_does_not_matter() -> None:
    rows = many(40)
    assert split(rows) == split(reversed(rows))


def test_copies_of_a_work_are_on_one_side() -> None:
    rows = [(f"{style}/{name}", artist, work) for name, artist, work in many(60)
            for style in ("Cubism", "Fauvism")]  # fmt: skip
    chosen = split(rows)
    for name, _, _ in many(60):
        assert chosen[f"Cubism/{name}"] == chosen[f"Fauvism/{name}"]
    assert Counter(pair[0] for pair in chosen.values())["test"] > 100
    # three pictures of two works: too few to give one away
    few = [("x/1", "a", "1"), ("y/1", "a", "1"), ("x/2", "a", "2")]
    assert {pair[0] for pair in split(few).values()} == {"train"}


def test_additions_move_nobody(tmp_path: Path) -> None:
    rows = many(60)
    before = split(rows)
    file = record(tmp_path / "splits.parquet", before)
    grown = [*rows, *many(90)[len(rows):],
             *itertools.chain(*(works(f"artist{i}", 15, 1000) for i in range(60)))]  # fmt: skip
    anew = split(grown)
    assert any(anew[name] != pair for name, pair in before.items())  # else no test at all
    after = split(grown, file)
    assert {name: after[name] for name in before} == before
    for which in (0, 1):
        counts = Counter(pair[which] for pair in after.values())
        for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert counts[name] / len(after) == pytest.approx(share, abs=0.02)
    sides = defaultdict(set)
    for name, artist, _ in grown:
        sides[artist].add(after[name][1])
    assert all(len(side) == 1 for side in sides.values())


def test_a_new_copy_follows_the_recorded_one(tmp_path: Path) -> None:
    rows = works("a", 20)
    before = split(rows)
    file = record(tmp_path / "splits.parquet", before)
    after = split([*rows, *((f"again/{name}", artist, work) for name, artist, work in rows)], file)
    assert all(after[f"again/{name}"] == before[name] for name, _, _ in rows)


def test_recorded_splits_hold_even_where_they_break_the_rules(tmp_path: Path) -> None:
    strange = {"a/0": ("test", "val"), "a/1": ("test", "test"), "b/0": ("val", "nonsense")}
    chosen = split([*works("a", 6), *works("b", 1)], record(tmp_path / "s.parquet", strange))
    assert [chosen["a/0"], chosen["a/1"]] == [("test", "val"), ("test", "test")]
    assert chosen["b/0"][0] == "val"
    assert "train" in {chosen[f"a/{i}"][0] for i in range(2, 6)}


def test_manifests_in_a_folder_are_records(tmp_path: Path) -> None:
    before = split(works("a", 30))
    half = dict(itertools.islice(before.items(), 15))
    record(tmp_path / "x-000000.parquet", half)
    record(tmp_path / "x-000001.parquet", {k: v for k, v in before.items() if k not in half}, 2)
    files = recorded_files(tmp_path)
    assert [path.name for path in files] == ["x-000000.parquet", "x-000001.parquet"]
    after = split(works("a", 60), *files)
    assert all(after[name][0] == pair[0] for name, pair in before.items())


def test_what_records_nothing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("text")
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other.parquet")
    for name, message in (
        ("empty", "no recorded splits in"), ("missing", "no recorded splits in"),
        ("text.parquet", "no readable Parquet file"), ("other.parquet", "records no splits"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            recorded_files(tmp_path / name)
