"""Selections: what a query compiles to, joins over datasets, and when a compiled one is renewed."""

import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from toolkit.core.errors import UserError
from toolkit.core.records import Link, Record
from toolkit.packing.dataset import pack
from toolkit.store.compile import _Others
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from toolkit.store.selection import Selection, select

Select = Callable[..., Selection]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def choose(triplets: Layout, cache: Path) -> Select:
    def start(dataset: str, *where: str, name: str = "main") -> Selection:
        return select(name, dataset, where, triplets, cache)

    return start


def picture_of(selection: Selection, row: int, role: str) -> bytes | None:
    """The bytes that the table points at."""
    values = selection.table.slice(row, 1).to_pylist()[0]
    if values[f"{role}_shard"] == -1:
        return None
    data = selection.shards[values[f"{role}_shard"]].read_bytes()
    return data[values[f"{role}_offset"] :][: values[f"{role}_size"]]


def test_triplets_are_joined_over_datasets(choose: Select, triplets: Layout) -> None:
    selection = choose("targets", "true")
    assert (selection.roles, len(selection), selection.num_dropped) == (
        ("target", "content", "style"), 13, 0,
    )  # fmt: skip
    readers = {name: SampleReader(triplets, name) for name in ("targets", "photos", "paintings")}
    for index, values in enumerate(selection.table.to_pylist()):
        assert values["key"] == f"target{index:02d}"
        assert values["caption"] == f"photo {index % 6}"
        assert values["style"] == ("Cubism", "Ukiyo_e")[index % 2]
        assert values["weight"] == 1.0
        expected = {
            "target": ("targets", values["key"]),
            "content": ("photos", f"photo{index % 6}"),
            "style": ("paintings", f"painting{index % 4}"),
        }
        for role, (dataset, key) in expected.items():
            assert values[f"{role}_key"] == key
            assert picture_of(selection, index, role) == readers[dataset].picture(key)


def test_style_and_artist_come_from_the_linked_style_where_the_target_has_none(
    triplets: Layout, cache: Path, toy_source: type, encode: Any, make_picture: Any
) -> None:
    picture = {"jpg": encode(make_picture(1))}
    old = Record(picture, style="Baroque", artist="Rubens")
    pack(toy_source("old", {"p": old}), "old", triplets, 5)
    links = (Link("style", "old", "p"),)
    records = {"a": Record(picture, links=links), "b": Record(picture, style="Own", links=links)}
    pack(toy_source("made", records), "made", triplets, 5)
    rows = select("main", "made", "true", triplets, cache).table.to_pylist()
    assert [(r["style"], r["artist"]) for r in rows] == [("Baroque", "Rubens"), ("Own", "Rubens")]


def test_another_process_maps_the_file_again(choose: Select) -> None:
    selection = choose("targets", "true")
    data = pickle.dumps(selection)
    assert len(data) < 2000  # the table does not travel
    again = pickle.loads(data)
    assert again.table.equals(selection.table)
    for name in ("name", "shards", "roles", "fingerprint", "num_dropped", "lacking", "layout"):
        assert getattr(again, name) == getattr(selection, name), name


def test_pairs_in_one_sample_are_target_and_content(choose: Select, triplets: Layout) -> None:
    selection = choose("circles", "true")
    assert selection.roles == ("target", "content")
    reader = SampleReader(triplets, "circles")
    for index, values in enumerate(selection.table.to_pylist()):
        key = values["key"]
        assert picture_of(selection, index, "target") == reader.member(key, "target.png")
        assert picture_of(selection, index, "content") == reader.member(key, "source.png")
        assert picture_of(selection, index, "style") is None


def test_plain_pictures_have_a_target_only(choose: Select) -> None:
    selection = choose("photos", "true")
    assert selection.roles == ("target",)
    assert [row["key"] for row in selection.table.to_pylist()] == [f"photo{i}" for i in range(6)]


def test_the_condition_selects(choose: Select) -> None:
    assert len(choose("targets", "style = 'Cubism'")) == 7
    assert len(choose("targets", "style = 'Cubism'", "key > 'target05'")) == 4
    assert len(choose("targets", "key = 'target00' or key = 'target01'", "true")) == 2
    assert len(choose("targets", " ")) == 13
    assert len(choose("targets", "true -- a comment")) == 13


def test_each_condition_stands_by_itself(choose: Select) -> None:
    """`or` in one expression must not leak past `and` of the next."""
    selection = choose("targets", "true or false", "style = 'Cubism'")
    assert len(selection) == 7
    for pieces in (("true) or (true", "false"), ("(true", "true)")):
        with pytest.raises(UserError, match="where "):
            choose("targets", *pieces)


def test_failed_inputs_are_never_selected(
    triplets: Layout, cache: Path, toy_source: type, encode: Any, make_picture: Any
) -> None:
    records = {"a": Record({"jpg": b"bad"}), "b": Record({"jpg": encode(make_picture(1))})}
    pack(toy_source("mixed", records), "mixed", triplets, 5)
    selection = select("main", "mixed", "status is not null", triplets, cache)
    assert selection.table.column("key").to_pylist() == ["b"]
    assert selection.num_dropped == 0


def test_a_missing_linked_sample_is_dropped_and_counted(
    triplets: Layout, cache: Path, toy_source: type, encode: Any, make_picture: Any
) -> None:
    picture = encode(make_picture(1))
    linked = {
        "none": (),
        "good": (Link("content", "photos", "photo1"), Link("style", "paintings", "painting1")),
        "no-key": (Link("content", "photos", "photo99"),),
        "no-dataset": (Link("content", "nowhere", "photo1"),),
        "half": (Link("content", "photos", "photo1"), Link("style", "paintings", "lost")),
        "other-role": (Link("mask", "photos", "lost"),),
    }
    records = {key: Record({"jpg": picture}, links=links) for key, links in linked.items()}
    pack(toy_source("made", records), "made", triplets, 3)
    selection = select("main", "made", "true", triplets, cache)
    rows = {row["key"]: row for row in selection.table.to_pylist()}
    assert list(rows) == ["none", "good", "other-role"]
    assert (selection.num_dropped, selection.lacking) == (3, ("nowhere", "paintings", "photos"))
    assert rows["none"]["content_shard"] == -1
    assert rows["other-role"]["content_shard"] == -1
    with pytest.raises(
        UserError, match=r"3 samples of made .* of nowhere and paintings and photos"
    ):
        select("main", "made", "key in ('no-key', 'no-dataset', 'half')", triplets, cache)


def test_a_failed_linked_sample_is_a_missing_one(
    triplets: Layout, cache: Path, toy_source: type, encode: Any, make_picture: Any
) -> None:
    pack(toy_source("broken", {"x": Record({"jpg": b"bad"})}), "broken", triplets, 3)
    record = Record({"jpg": encode(make_picture(1))}, links=(Link("content", "broken", "x"),))
    pack(toy_source("made", {"a": record}), "made", triplets, 3)
    with pytest.raises(UserError, match=r"1 samples of made .* of broken that .*: pack broken"):
        select("main", "made", "true", triplets, cache)


def test_a_shard_that_is_gone_is_one_line(choose: Select, triplets: Layout) -> None:
    choose("targets", "true")
    triplets.tar("photos", 1).unlink()
    with pytest.raises(UserError, match=r"photos-000001\.tar is gone: python -m toolkit.verify"):
        choose("targets", "true")


@pytest.mark.parametrize(
    ("dataset", "where", "message"),
    [
        ("nothing", "true", "the task main needs the dataset 'nothing'; packed are circles"),
        ("targets", "styl = 'x'", "no column 'styl': did you mean style"),
        ("targets", "style = ", "is not a valid SQL expression"),
        ("targets", "count(*) > 1", "may not use the function"),
        ("targets", "style in (select 1)", "holds a sub-query"),
        ("targets", "style = 'Baroque'", "the task main selects no sample of targets where"),
        ("targets", "caption::int = 1", "Could not convert"),
    ],
)
def test_what_cannot_be_selected_is_one_line(
    dataset: str, where: str, message: str, choose: Select, cache: Path
) -> None:
    with pytest.raises(UserError) as caught:
        choose(dataset, where)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_expression_may_be_given_as_it_is(triplets: Layout, cache: Path) -> None:
    assert len(select("main", "targets", "style = 'Cubism'", triplets, cache)) == 7


def test_the_message_repeats_the_expression(triplets: Layout, cache: Path) -> None:
    with pytest.raises(UserError, match="where style = 'Baroque'"):
        select("main", "targets", "style = 'Baroque'", triplets, cache)


def test_a_compiled_selection_is_used_again(choose: Select, cache: Path) -> None:
    first = choose("targets", "true")
    (file,) = cache.iterdir()
    made = file.stat()
    again = choose("targets", "true")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert again.table.equals(first.table)
    assert again.fingerprint == first.fingerprint
    file.unlink()
    assert choose("targets", "true").table.equals(first.table)  # disposable


@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_a_damaged_compiled_selection_is_made_again(
    content: bytes, choose: Select, cache: Path
) -> None:
    first = choose("targets", "true")
    table = first.table.to_pylist()
    del first  # so that nothing maps the file any more
    (file,) = cache.iterdir()
    file.write_bytes(content)
    assert choose("targets", "true").table.to_pylist() == table


def test_another_query_is_another_selection(choose: Select, cache: Path) -> None:
    prints = {choose("targets", where).fingerprint for where in ("true", "1=1", "style='Cubism'")}
    assert len(prints) == 3
    assert choose("photos", "true").fingerprint not in prints
    assert len(list(cache.iterdir())) == 4


def targets_again(triplets: Layout, toy_source: type, encode: Any, make_picture: Any) -> None:
    """Packs other targets: another picture under the same keys."""
    link = Link("content", "photos", "photo0")
    records = {f"target{i:02d}": Record({"jpg": encode(make_picture(900 + i, 56, 56))},
                                        links=(link,)) for i in range(4)}  # fmt: skip
    shutil.rmtree(triplets.manifests / "targets")
    pack(toy_source("targets", records), "targets", triplets, 5)


def test_changed_data_renew_the_selection(
    choose: Select, triplets: Layout, toy_source: type, encode: Any, make_picture: Any
) -> None:
    before = choose("targets", "true")
    targets_again(triplets, toy_source, encode, make_picture)
    after = choose("targets", "true")
    assert after.fingerprint != before.fingerprint
    assert len(after) == 4
    data = picture_of(after, 2, "target")
    assert data is not None
    assert np.asarray(Image.open(io.BytesIO(data))).shape == (56, 56, 3)


def test_a_changed_parent_renews_the_selection(
    choose: Select, triplets: Layout, toy_source: type, encode: Any, make_picture: Any
) -> None:
    before = choose("targets", "true")
    circles = choose("circles", "true")
    records = {f"photo{i}": Record({"jpg": encode(make_picture(700 + i, 56, 56))})
               for i in range(5)}  # fmt: skip
    shutil.rmtree(triplets.manifests / "photos")
    pack(toy_source("photos", records), "photos", triplets, 5)
    after = choose("targets", "true")
    assert after.fingerprint != before.fingerprint
    assert (len(after), after.num_dropped) == (11, 2)  # photo5 is gone
    data = picture_of(after, 0, "content")
    assert data is not None
    assert Image.open(io.BytesIO(data)).size == (56, 56)
    assert choose("circles", "true").fingerprint == circles.fingerprint


def test_a_changed_column_renews_the_selection(
    triplets: Layout, cache: Path, toy_source: type, encode: Any, make_picture: Any
) -> None:
    picture = encode(make_picture(1))
    for note, expected in (("old", 0), ("new", 1)):
        records = {
            "a": Record({"jpg": picture}, extra={"note": note}),
            "b": Record({"jpg": picture}),
        }
        shutil.rmtree(triplets.manifests / "noted", ignore_errors=True)
        pack(toy_source("noted", records), "noted", triplets, 5)
        where = "key = 'b' or extra->>'note' = 'new'"
        assert len(select("main", "noted", where, triplets, cache)) == 1 + expected


def test_an_unfinished_pack_is_not_trained_on(choose: Select, triplets: Layout) -> None:
    triplets.card("targets").unlink()
    with pytest.raises(UserError, match="the pack of targets did not finish"):
        choose("targets", "true")


def test_by_default_compiled_selections_lie_beside_the_manifests(triplets: Layout) -> None:
    select("main", "targets", "true", triplets)
    assert len(list((triplets.manifests / ".selections").iterdir())) == 1
    assert "targets" in triplets.datasets()
    assert ".selections" not in triplets.datasets()


def test_captions_and_weights_are_never_null(choose: Select) -> None:
    selection = choose("paintings", "true")
    assert selection.table.column("caption").to_pylist() == [""] * 4
    assert selection.table.column("weight").null_count == 0
    assert json.loads(selection.table.schema.metadata[b"tessera"])["dropped"] == 0


@pytest.mark.parametrize("dataset", ["targets", "circles", "photos"])
def test_samples_that_pass_in_small_batches_are_compiled_to_the_same(
    dataset: str, triplets: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts beyond what 32-bit offsets reach get others, and read as before."""
    whole = select("main", dataset, "true", triplets, tmp_path / "whole")
    monkeypatch.setattr("toolkit.store.compile._ROWS", 3)
    parts = select("main", dataset, "true", triplets, tmp_path / "parts")
    assert parts.table.equals(whole.table)
    assert (parts.shards, parts.roles, parts.num_dropped) == (
        whole.shards, whole.roles, whole.num_dropped,
    )  # fmt: skip
    assert all(parts.table.column(name).num_chunks == 1 for name in parts.table.column_names)
    monkeypatch.setattr("toolkit.store.columns._MOST", 10)
    large = select("main", dataset, "true", triplets, tmp_path / "large")
    assert large.table.to_pylist() == whole.table.to_pylist()
    assert str(large.table.schema.field("key").type) == "large_string"
    assert list((tmp_path / "parts").iterdir()) == [parts.file]  # nothing else is left


def test_names_of_one_hash_are_told_apart() -> None:
    names = [f"photos/p{number}" for number in range(6)]
    places = [*range(6)]
    rows = pa.table({"name": names, "hash": pa.array([7, 3, 3, 9, 1, 5], pa.uint64())})
    others = _Others(rows)
    wanted = pa.chunked_array([["photos/p2", None, "photos/p0"], ["photos/none", "photos/p1"]])
    hashes = pa.chunked_array([pa.array([3, 8, 7], pa.uint64()), pa.array([3, 3], pa.uint64())])
    assert others.places_of(wanted, hashes).to_pylist() == [2, None, 0, None, 1]
    alone = _Others(rows.set_column(1, "hash", pa.array(places, pa.uint64())))
    found = alone.places_of(wanted, pa.chunked_array([pa.array([2, 0, 0, 77, 1], pa.uint64())]))
    assert found.to_pylist() == [2, None, 0, None, 1]
    assert _Others(rows.slice(0, 0)).places_of(wanted, hashes).null_count == 5
