"""A prepared folder read again: the same paintings, classes, keys and splits."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources.wikiart import open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.wikiart.prepare import prepare


@pytest.fixture
def tree(tmp_path: Path, encode: Any, make_picture: Any) -> Path:
    """Twelve paintings of two artists in two styles."""
    folder = tmp_path / "raw"
    for number in range(12):
        style = ("Cubism", "Rococo")[number % 2]
        name = f"{('juan-gris', 'antoine-watteau')[number % 2]}_work-{number}.jpg"
        (folder / style).mkdir(parents=True, exist_ok=True)
        (folder / style / name).write_bytes(encode(make_picture(number)))
    return folder


def rows_of(src: Path, root: Path) -> list[dict[str, Any]]:
    layout = Layout(root / "s", root / "m")
    pack(open_source(src), "art", layout, 100)
    return read_manifest(layout.manifest("art", 0))


@pytest.mark.parametrize("mode", ["symlink", "copy"])
def test_it_comes_back_as_it_went(mode: Any, tree: Path, tmp_path: Path) -> None:
    before = {row["key"]: row for row in rows_of(tree, tmp_path / "one")}
    assert prepare(open_source(tree), tmp_path / "laid", mode) == 12
    after = {row["key"]: row for row in rows_of(tmp_path / "laid", tmp_path / "two")}
    assert after.keys() == before.keys()
    for key, row in after.items():
        for column in ("style", "artist", "genre", "split", "sha256", "status"):
            assert row[column] == before[key][column], column


def test_the_lists_of_splits_decide(tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "laid"
    prepare(open_source(tree), folder, "copy")
    with (folder / "meta.csv").open() as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    for split, part in (("train", ids[:2]), ("val", ids[2:4]), ("test", ids[4:])):
        (folder / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in part))
    splits = {row["key"]: row["split"] for row in rows_of(folder, tmp_path / "two")}
    assert [splits[name] for name in ids] == ["train"] * 2 + ["val"] * 2 + ["test"] * 8


def test_rows_that_say_nothing_are_counted_and_lost_pictures_are_rows(
    tree: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "laid"
    prepare(open_source(tree), folder, "copy")
    with (folder / "meta.csv").open("a") as file:
        file.write("lonely,,a,b,c\nlost,images/lost.jpg,a,b,c\n")
    notes: Counter[str] = Counter()
    assert len(list(open_source(folder).index(notes))) == 13
    assert notes == {
        "rows of meta.csv without id or path": 1,
        "rows of meta.csv with missing or surplus fields": 2,  # both lack a title
    }
    lost = next(r for r in rows_of(folder, tmp_path / "two") if r["key"] == "lost")
    assert (lost["status"], lost["cause"]) == ("failed", "unreadable")


@pytest.mark.parametrize("text", ["", "id,path\n", "name,file\na,b\n"])
def test_a_table_without_paintings_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.csv").write_text(text)
    with pytest.raises(UserError, match=r"meta\.csv has no row with id and path"):
        open_source(tmp_path)


def test_a_metadata_csv_of_something_else_is_not_meant(tree: Path, tmp_path: Path) -> None:
    before = rows_of(tree, tmp_path / "one")
    (tree / "metadata.csv").write_text("file_name,width\nCubism/x.jpg,9\n")
    after = rows_of(tree, tmp_path / "two")
    assert [r["key"] for r in after] == [r["key"] for r in before]
    assert {r["style"] for r in after} == {r["style"] for r in before}


def test_a_prepared_folder_is_prepared_again(tree: Path, tmp_path: Path) -> None:
    prepare(open_source(tree), tmp_path / "one", "copy")
    prepare(open_source(tmp_path / "one"), tmp_path / "two", "copy")
    for name in ("images", "splits"):
        one, two = (
            {path.name: path.read_bytes() for path in (tmp_path / folder / name).iterdir()}
            for folder in ("one", "two")
        )
        assert one == two
        assert one


def test_any_table_of_paintings_will_do(tree: Path, tmp_path: Path) -> None:
    """As real sets have it: other columns, another name, gaps, pictures that are not listed."""
    rows = ["id,path,artist,style,genre,caption,licence,title,width",
            "p1,Cubism/juan-gris_work-0.jpg,Juan Gris,Orphism,,a guitar,CC0,Guitar,9",
            "p2,./Cubism/juan-gris_work-2.jpg,,,,,,,"]  # fmt: skip
    (tree / "metadata.csv").write_text("\n".join(rows) + "\n")
    notes: Counter[str] = Counter()
    list(open_source(tree).index(notes))
    assert notes == {"pictures that metadata.csv does not name": 4}  # those of Cubism/
    first, second = rows_of(tree, tmp_path / "x")
    assert (first["key"], first["artist"], first["style"]) == ("p1", "Juan Gris", "Orphism")
    assert (first["caption"], first["licence"], first["title"]) == ("a guitar", "CC0", "Guitar")
    assert first["genre"] is None
    assert (second["status"], second["artist"], second["caption"]) == ("ok", None, None)
    assert second["title"] == "work 2"
    elsewhere = tmp_path / "elsewhere.csv"
    (tree / "metadata.csv").rename(elsewhere)
    assert [ref.source_id for ref in open_source(tree, table=elsewhere).index()] == ["p1", "p2"]
    with pytest.raises(UserError, match="exclude each other"):
        open_source(tree, table=elsewhere, lists=tree)
