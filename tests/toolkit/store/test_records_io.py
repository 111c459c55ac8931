"""Large JSON and tables are read entry by entry; what is none is one line."""

import json
from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.store.records_io import check_object, items, lines, members, records


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


def test_items_of_a_list_wherever_it_stands(file: Path) -> None:
    tree = {"a": [1, {"x": 1.5}], "deep": {"b": [{"no": 1}]}, "b": [{"y": [1, 2]}, "text", {}]}
    file.write_text(json.dumps(tree))
    assert list(items(file, "b")) == [{"y": [1, 2]}, {}]
    assert list(items(file, "a")) == [{"x": 1.5}]
    assert list(items(file, "none")) == []
    assert list(members(file)) == list(tree.items())


def test_damage_shows_when_it_is_reached(file: Path) -> None:
    file.write_text('{"a": [{"x": 1}, {"x": 2}, {"x"')
    found = items(file, "a")
    assert [next(found), next(found)] == [{"x": 1}, {"x": 2}]
    with pytest.raises(UserError, match=r"file\.json is not valid JSON"):
        next(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is not valid JSON"), ("[]", "no JSON object at its top"), ("3", "no JSON object"),
     ("text", "is not valid JSON")],
)  # fmt: skip
def test_objects_are_told_from_other_files(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        check_object(file)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    for read in (check_object, lambda p: list(members(p)), lambda p: list(items(p, "a")),
                 lambda p: list(lines(p)), lambda p: list(records(p))):  # fmt: skip
        with pytest.raises(UserError, match=r"cannot read .*none: No such file"):
            read(tmp_path / "none")


def test_lines_are_numbered_and_damage_stays_in_its_line(file: Path) -> None:
    file.write_text('\ufeff{"a": 1}\n\nnot json\n[2]\n')
    found = list(lines(file))
    assert [(number, value) for number, value in found if number != 3] == [(1, {"a": 1}), (4, [2])]
    assert isinstance(found[1][1], ValueError)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "name,n\nx,1\ny,2\n"),
        ("t.jsonl", '{"name": "x", "n": "1"}\n5\n{"name": "y", "n": "2"}\n'),
        ("t.json", '[{"name": "x", "n": "1"}, 5, {"name": "y", "n": "2"}]'),
        ("t.json", '{"x": {"n": "1"}, "odd": 5, "y": {"n": "2"}}'),
    ],
)
def test_tables_of_all_forms_are_the_same_records(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert list(records(path)) == [{"name": "x", "n": "1"}, {"name": "y", "n": "2"}]
