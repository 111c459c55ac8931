"""Rows for people and for programs: aligned tables, JSON and CSV that read back."""

import csv
import io
import json

import pytest

from toolkit.core.errors import UserError
from toolkit.core.show import MAX_CELL, MAX_LAST, show

NAMES = ("key", "width", "score", "tags")
ROWS = [
    ("a", 5, 0.123456, ["x", "y"]),
    ('long, "quoted"\nname', 1000, None, []),
    ("é", None, 1e-9, None),
]


def test_json_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    show(NAMES, ROWS, "json")
    got = json.loads(capsys.readouterr().out)
    assert [tuple(row.values()) for row in got] == ROWS
    assert list(got[0]) == list(NAMES)


def test_csv_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    show(NAMES, ROWS, "csv")
    got = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert got[0] == list(NAMES)
    assert got[1] == ["a", "5", "0.123456", '["x", "y"]']
    assert got[2] == ['long, "quoted"\nname', "1000", "", "[]"]
    assert got[3] == ["é", "", "1e-09", ""]


def test_tables_are_aligned_and_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    show(NAMES, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert lines[1].split() == ["-" * 19, "-----", "------", "-" * 10]
    ends = [line.index(word) + len(word) for line, word in
            zip(lines[2:], ("    5", " 1000", "    -"), strict=True)]  # fmt: skip
    assert len(set(ends)) == 1  # numbers stand to the right
    assert "0.1235" in lines[2]


def test_long_cells_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show(("a", "b"), [("x" * 500, "y" * 500)])
    cut = "x" * (MAX_CELL - 1) + "…  " + "y" * (MAX_LAST - 1) + "…"
    assert capsys.readouterr().out.splitlines()[2] == cut


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_no_rows_are_no_error(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(NAMES, [], form)
    out = capsys.readouterr().out
    assert "key" in out or json.loads(out) == []


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="choose one of table, json, csv"):
        show(NAMES, ROWS, "xml")
