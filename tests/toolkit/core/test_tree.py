"""Walks: complete, in one order, and never trapped."""

import os
from collections import Counter
from pathlib import Path

import pytest

from toolkit.core.tree import stamp_of, walk_files


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def walk(root: Path) -> tuple[list[str], Counter[str]]:
    notes: Counter[str] = Counter()
    return list(walk_files(root, lambda name: name.endswith(".x"), notes)), notes


def test_files_come_in_the_order_of_their_parts(tmp_path: Path) -> None:
    names = ["b.x", "a/2.x", "a/10.x", "a-b/1.x", "a/c/1.x", "é/1.x", "B/1.x", "top.x"]
    make(tmp_path, *names, "a/no.y", ".hidden.x", ".folder/1.x")
    found, notes = walk(tmp_path)
    assert found == sorted(names, key=lambda name: name.split("/"))
    assert notes == {"hidden files": 1}


def test_links_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    make(tmp_path / "root", "a/1.x")
    make(tmp_path / "elsewhere", "2.x")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "a" / "self").symlink_to(".")
    (tmp_path / "root" / "broken.x").symlink_to("nowhere")
    (tmp_path / "root" / "loop.x").symlink_to("loop.x")
    found, notes = walk(tmp_path / "root")
    assert found == ["a/1.x", "b/2.x", "broken.x", "loop.x"]
    assert notes == {"symlink loops": 2}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    make(tmp_path, "a/1.x", "b/2.x")
    (tmp_path / "a").chmod(0)
    try:
        assert walk(tmp_path) == (["b/2.x"], Counter({"unreadable folders": 1}))
    finally:
        (tmp_path / "a").chmod(0o755)


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.x")
    (tmp_path / name).write_text("x")
    assert walk(tmp_path)[0] == [name]


def test_stamps_change_with_any_of_the_files(tmp_path: Path) -> None:
    one, other = tmp_path / "a.x", tmp_path / "a.txt"
    one.write_text("1")
    first = stamp_of(one, other)
    assert stamp_of(one, other) == first
    other.write_text("2")
    second = stamp_of(one, other)
    os.utime(one, ns=(1, 1))
    assert len({first, second, stamp_of(one, other)}) == 3
