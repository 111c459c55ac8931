"""A folder of pictures as a source: order, classes, captions, facts, and odd names."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import UserError
from toolkit.core.records import Record, Ref
from toolkit.sources import open_source as open_kind
from toolkit.sources.folder import Folder, open_source
from toolkit.store.images import PictureError

Encode = Callable[..., bytes]
MakePicture = Callable[..., np.ndarray]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder to fill."""
    return tmp_path / "tree"


def fill(tree: Path, *names: str) -> None:
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"bytes of " + name.encode())


def read(source: Folder, path: str) -> Record:
    """What a source reads of one picture, which need not be there any more."""
    found = {ref.source_id: ref for ref in source.index()}
    return source.read(found.get(path, Ref(path, [path, {}, [], None])))


def ids(tree: Path) -> list[str]:
    return [ref.source_id for ref in open_source(tree).index()]


def test_the_order_depends_on_names_only(tree: Path, tmp_path: Path) -> None:
    names = ["b/2.jpg", "b/10.jpg", "a/x.png", "top.jpg", "B/1.jpg", "a/c/deep.webp", "a.b/x.gif"]
    fill(tree, *names)
    fill(tmp_path / "other", *reversed(names))
    assert ids(tree) == ids(tmp_path / "other")
    assert sorted(ids(tree)) == sorted(names)
    assert ids(tree) == sorted(names, key=lambda name: name.split("/"))


def test_what_is_no_picture_is_passed_over(tree: Path) -> None:
    fill(tree, "a.JPG", "b.jpeg", "notes.txt", "a.json", ".hidden.jpg", "c.jpg.part", "d.TIF")
    assert ids(tree) == ["a.JPG", "b.jpeg", "d.TIF"]


def test_what_is_no_file_is_passed_over(tree: Path) -> None:
    fill(tree, "a.jpg")
    os.mkfifo(tree / "b.jpg")
    assert ids(tree) == ["a.jpg"]


def test_a_loop_of_links_does_not_trap_the_walk(tree: Path) -> None:
    fill(tree, "a/x.jpg")
    (tree / "a" / "loop").symlink_to(tree, target_is_directory=True)
    (tree / "a" / "y.jpg").symlink_to(tree / "a" / "x.jpg")
    assert ids(tree) == ["a/x.jpg", "a/y.jpg"]


def test_the_class_is_the_parent_folders_name(tree: Path) -> None:
    fill(tree, "top.jpg", "Cubism/x.jpg", "a/Post Impressionism/y.jpg")
    source = open_source(tree)
    styles = {ref.source_id: source.read(ref).style for ref in source.index()}
    assert styles == {
        "top.jpg": None, "Cubism/x.jpg": "Cubism",
        "a/Post Impressionism/y.jpg": "Post Impressionism",
    }  # fmt: skip


def test_captions_stand_one_a_line(tree: Path) -> None:
    fill(tree, "a.jpg", "b.jpg")
    (tree / "a.txt").write_bytes("  first \r\n\r\nsécond\n\xff".encode("latin-1", "replace"))
    record = read(open_source(tree), "a.jpg")
    assert record.captions[0] == "first"
    assert len(record.captions) == 3
    assert read(open_source(tree), "b.jpg").captions == ()


def test_facts_from_json(tree: Path) -> None:
    fill(tree, "Cubism/a.jpg", "Cubism/b.jpg", "Cubism/c.jpg")
    facts = {
        "captions": ["one", "two"], "style": "Orphism", "artist": "A", "genre": "g",
        "title": "t", "licence": "CC0", "categories": ["cat"], "split": "val", "year": 1911,
        "more": {"x": [1]},
    }  # fmt: skip
    (tree / "Cubism" / "a.json").write_text(json.dumps(facts))
    (tree / "Cubism" / "a.txt").write_text("not used")
    (tree / "Cubism" / "b.json").write_text('{"caption": "single", "artist": "", "style": null}')
    source = open_source(tree)
    record = read(source, "Cubism/a.jpg")
    assert record.captions == ("one", "two")
    assert record.categories == ("cat",)
    assert (record.style, record.artist, record.genre) == ("Orphism", "A", "g")
    assert (record.title, record.licence, record.split) == ("t", "CC0", "val")
    assert record.extra == {"year": 1911, "more": {"x": [1]}}
    record = read(source, "Cubism/b.jpg")
    assert record.captions == ("single",)
    assert (record.style, record.artist, record.extra) == ("Cubism", None, {})


@pytest.mark.parametrize("text", ["not json", "[1, 2]", "3", '{"a": ', "\xff"])
def test_bad_json_is_a_cause(tree: Path, text: str) -> None:
    fill(tree, "a.jpg")
    (tree / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(PictureError) as caught:
        read(open_source(tree), "a.jpg")
    assert caught.value.cause == "bad_metadata"
    assert "a.json" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ['{"categories": null}', '{"captions": 5}', "[" * 100_000, '{"n": ' + "9" * 5000 + "}"],
    ids=["null", "number", "deep", "digits"],
)
def test_strange_json_is_a_cause_too(tree: Path, text: str) -> None:
    fill(tree, "a.jpg")
    (tree / "a.json").write_text(text)
    with contextlib.suppress(PictureError):  # a row with a cause, or a record: both are fine
        assert read(open_source(tree), "a.jpg").members


@pytest.mark.parametrize("file", ["a.json", "a.txt"])
def test_a_byte_order_mark_is_no_content(tree: Path, file: str) -> None:
    fill(tree, "a.jpg")
    text = '{"caption": "hello"}' if file == "a.json" else "hello"
    (tree / file).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(open_source(tree), "a.jpg").captions == ("hello",)


def test_a_picture_that_went_away_is_an_os_error(tree: Path) -> None:
    fill(tree, "a.jpg", "b.jpg")
    source = open_source(tree)
    (tree / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError):
        read(source, "a.jpg")
    (tree / "c.jpg").symlink_to(tree / "nothing")
    with pytest.raises(FileNotFoundError):
        read(source, "c.jpg")


def test_the_whole_dataset_gets_the_extension_of_its_first_picture(tree: Path) -> None:
    fill(tree, "a/x.PNG", "b/y.jpg")
    source = open_source(tree)
    assert [list(source.read(ref).members) for ref in source.index()] == [["png"], ["png"]]
    assert read(source, "b/y.jpg").members["png"] == b"bytes of b/y.jpg"


def test_the_description_holds_no_machine_path(tree: Path) -> None:
    fill(tree, "a.jpg")
    assert open_source(tree).describe() == {"kind": "folder", "src": "tree", "ext": "jpg"}
    here = Path.cwd()
    try:
        os.chdir(tree)
        assert open_source(Path()).describe()["src"] == "tree"
    finally:
        os.chdir(here)


def test_unusable_folders_are_one_line(tree: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        open_source(tree)
    tree.mkdir()
    with pytest.raises(UserError, match=r"no pictures in .*: expected files ending in avif, bmp"):
        open_source(tree)
    (tree / "file.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="there is no folder"):
        open_source(tree / "file.jpg")


def test_kinds_and_options_are_checked(tree: Path) -> None:
    fill(tree, "a.jpg")
    assert open_kind("folder", {"src": str(tree)}).describe()["kind"] == "folder"
    with pytest.raises(UserError, match=r"unknown source 'foldr': did you mean folder\?"):
        open_kind("foldr", {})
    with pytest.raises(UserError, match="has no option --sorce; it takes --src"):
        open_kind("folder", {"sorce": "x"})
    for options in ({}, {"src": None}):
        with pytest.raises(UserError, match="the source folder needs --src="):
            open_kind("folder", options)


def in_csv(rows: list[dict[str, str]]) -> str:
    names = list(rows[0])
    return "\n".join([",".join(names), *(",".join(row[n] for n in names) for row in rows)]) + "\n"


def in_jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "write"), [("metadata.csv", in_csv), ("metadata.jsonl", in_jsonl)]
)
@pytest.mark.parametrize("column", ["file_name", "path"])
def test_a_table_tells_of_all_pictures(
    tree: Path, name: str, write: Callable[[list[dict[str, str]]], str], column: str
) -> None:
    fill(tree, "a.jpg", "Cubism/b.jpg", "c.jpg")
    rows = [
        {column: "a.jpg", "text": "from the table", "artist": "A", "style": "", "year": "1911"},
        {column: "./Cubism\\b.jpg", "text": "b", "artist": "", "style": "Orphism", "year": ""},
        {column: "gone.jpg", "text": "c", "artist": "", "style": "", "year": ""},
    ]
    (tree / name).write_text(write(rows))
    (tree / "c.txt").write_text("beside")
    source = open_source(tree)
    notes: Counter[str] = Counter()
    found = {ref.source_id: source.read(ref) for ref in source.index(notes)}
    assert found["a.jpg"].captions == ("from the table",)
    assert (found["a.jpg"].artist, found["a.jpg"].style) == ("A", None)
    assert found["a.jpg"].extra == {"year": "1911"}
    assert (found["Cubism/b.jpg"].style, found["Cubism/b.jpg"].artist) == ("Orphism", None)
    assert found["c.jpg"].captions == ("beside",)
    assert notes == {"rows of tables without a picture": 1}


def test_what_lies_beside_a_picture_counts_before_the_table(tree: Path) -> None:
    fill(tree, "a.jpg", "b.jpg", "c.jpg")
    rows = [{"file_name": f"{x}.jpg", "text": "table", "artist": "T"} for x in "abc"]
    (tree / "metadata.csv").write_text(in_csv(rows))
    (tree / "a.json").write_text('{"artist": "J"}')
    (tree / "b.txt").write_text("lines")
    (tree / "c.txt").write_text("lines")
    (tree / "c.json").write_text('{"caption": "object"}')
    source = open_source(tree)
    a, b, c = (read(source, f"{x}.jpg") for x in "abc")
    assert (a.captions, a.artist) == (("table",), "J")
    assert (b.captions, b.artist) == (("lines",), "T")
    assert c.captions == ("object",)


def test_a_changed_row_changes_the_stamp_of_its_picture_only(tree: Path) -> None:
    fill(tree, "a.jpg", "b.jpg")
    stamps = []
    for text in ("one", "two"):
        rows = [{"file_name": "a.jpg", "text": text}, {"file_name": "b.jpg", "text": "same"}]
        (tree / "metadata.csv").write_text(in_csv(rows))
        stamps.append([ref.stamp for ref in open_source(tree).index()])
    assert stamps[0][0] != stamps[1][0]
    assert stamps[0][1] == stamps[1][1]


@pytest.mark.parametrize("text", ["", "name,text\na.jpg,hello\n"])
def test_a_table_that_names_no_files_is_noted_or_refused(tree: Path, text: str) -> None:
    fill(tree, "a.jpg")
    (tree / "metadata.csv").write_text(text)
    notes: Counter[str] = Counter()
    assert len(list(open_source(tree).index(notes))) == 1
    assert notes == {"metadata.csv: not used, no row has file_name or path": 1}
    with pytest.raises(UserError, match=r"metadata\.csv has no row with file_name or path"):
        open_source(tree, tree / "metadata.csv")


def test_split_folders_with_tables_are_hugging_faces(
    tmp_path: Path, encode: Encode, make_picture: MakePicture
) -> None:
    """The captions that `datasets` itself reads, split by split."""
    import datasets

    tree = tmp_path / "hf"
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        (tree / split / "deep").mkdir(parents=True)
        names = [f"deep/{i}.png" if i == 1 else f"{i}.png" for i in range(count)]
        for i, name in enumerate(names):
            (tree / split / name).write_bytes(encode(make_picture(i), "PNG"))
        rows = [{"file_name": name, "text": f"{split} {name}"} for name in names]
        (tree / split / "metadata.jsonl").write_text(in_jsonl(rows))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tree), cache_dir=tmp_path / "cache")
    expected = {
        (split.replace("validation", "val"), text)
        for split, part in loaded.items() for text in part["text"]
    }  # fmt: skip
    source = open_source(tree)
    found = [source.read(ref) for ref in source.index()]
    assert {(record.split, record.captions[0]) for record in found} == expected
    assert {record.style for record in found} == {None, "deep"}


def test_lines_that_are_no_records_are_counted(tree: Path) -> None:
    fill(tree, "a.jpg", "b.jpg")
    text = '{"file_name": "a.jpg", "text": "a"}\n{"file_name": "b.jpg", "text": "b"\n[1]\n'
    (tree / "metadata.jsonl").write_text(text)
    notes: Counter[str] = Counter()
    list(open_source(tree).index(notes))
    assert notes == {"lines of metadata.jsonl that are no JSON object": 2}


def test_rows_of_another_length_are_counted(tree: Path) -> None:
    fill(tree, "a.jpg", "b.jpg", "c.jpg")
    (tree / "metadata.csv").write_text("file_name,text\na.jpg,a\nb.jpg\nc.jpg,one,two\n")
    notes: Counter[str] = Counter()
    list(open_source(tree).index(notes))
    assert notes == {"rows of metadata.csv with missing or surplus fields": 2}
    (tree / "metadata.csv").write_text('file_name,text\na.jpg,"open\nb.jpg,b\n')
    with pytest.raises(UserError, match="unexpected end of data"):
        list(open_source(tree).index())


def test_further_pictures_of_a_table_are_members(
    tmp_path: Path, encode: Callable[..., bytes], make_picture: Callable[..., object]
) -> None:
    """They belong to their samples, unless a row of their own says otherwise."""
    names = ("t/a.png", "t/linked/c.png", "t/linked/both.png", "t/alone.png")
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode(make_picture(number), "PNG"))
    rows = [
        {"file_name": "a.png", "content_image_file_name": "linked/c.png",
         "style_image_path": "linked/both.png", "mask_image_path": ""},
        {"file_name": "linked/both.png", "style": "Cubism", "other_image_path": "../../etc/x.png"},
    ]  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "t" / "metadata.jsonl").write_text(lines)
    source = open_source(tmp_path)
    found = {ref.source_id: source.read(ref) for ref in source.index()}
    assert sorted(found) == ["t/a.png", "t/alone.png", "t/linked/both.png"]
    assert found["t/a.png"].members == {
        "png": (tmp_path / names[0]).read_bytes(),
        "content.png": (tmp_path / names[1]).read_bytes(),
        "style.png": (tmp_path / names[2]).read_bytes(),
    }
    assert list(found["t/linked/both.png"].members) == ["png"]
    assert found["t/a.png"].extra == {}
