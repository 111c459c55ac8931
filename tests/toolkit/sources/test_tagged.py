"""Metadata of tags: files merged, paths of all kinds found, the last two tags marked as kept."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources.tagged import Tagged, open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

TAGS = "1girl, solo, maple leaf, best quality, general"


@pytest.fixture
def listed(tmp_path: Path, encode: Any, make_picture: Any) -> Path:
    """Two metadata files over three pictures, one of them by an absolute path."""
    folder = tmp_path / "tagged"
    for number, name in enumerate(("a/one.png", "two.png", "three.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(make_picture(number), "PNG"))
    first = {"a/one.png": {"tags": TAGS, "image_size": [48, 48]},
             "two.png": {"tags": "old, best quality, general", "image_size": [48, 48]}}  # fmt: skip
    second = {"two.png": {"tags": "new,best quality , general,", "image_size": [1, 2]},
              str(folder / "three.png"): {"tags": "alone"}}  # fmt: skip
    (folder / "m1.json").write_text(json.dumps(first))
    (folder / "m2.json").write_text(json.dumps(second))
    return folder


def test_files_are_merged_and_the_later_one_counts(listed: Path) -> None:
    notes: Counter[str] = Counter()
    source = open_source(listed)
    found = {Path(ref.source_id).name: source.read(ref) for ref in source.index(notes)}
    assert sorted(found) == ["one.png", "three.png", "two.png"]
    assert found["two.png"].captions == ("new, best quality, general",)
    assert found["two.png"].extra == {
        "kept_tags": ["best quality", "general"], "declared_size": [1, 2],
    }  # fmt: skip
    assert found["one.png"].categories == tuple(TAGS.split(", "))
    assert found["three.png"].extra["kept_tags"] == ["alone"]
    assert notes == {"pictures listed twice": 1}


def test_one_file_is_a_source_too(listed: Path) -> None:
    source = open_source(listed / "m1.json")
    assert [ref.source_id for ref in source.index()] == ["a/one.png", "two.png"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("C:\\art\\a b\\x.png", "/mnt/c/art/a b/x.png"),
        ("d:/art/x.png", "/mnt/d/art/x.png"),
        ("sub\\x.png", "/base/sub/x.png"),
        ("/abs/x.png", "/abs/x.png"),
        ("c.png", "/base/c.png"),
    ],
)
def test_paths_of_windows_are_read_as_wsl_mounts_them(path: str, place: str) -> None:
    assert str(Tagged(Path("/base"), (), None)._place(path)) == place


def test_what_cannot_be_used_is_a_row(listed: Path, tmp_path: Path) -> None:
    more = {"gone.png": {"tags": "a"}, "a/one.png": {"tags": 5}, "two.png": "no object"}
    (listed / "m3.json").write_text(json.dumps(more))
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(open_source(listed), "t", layout, 10)
    rows = {Path(r["source_id"]).name: r["cause"] for r in read_manifest(layout.manifest("t", 0))}
    assert rows == {
        "gone.png": "unreadable", "one.png": "bad_metadata", "two.png": "bad_metadata",
        "three.png": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[]", "no JSON object"), ("{}", "no picture is listed")],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UserError, match=message):
        open_source(tmp_path)
